"""What Synapse says of the module's configuration when it starts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.homeservers.homeserver import HomeserverError
from tests.harness.homeservers.stage import Stage
from tests.harness.reactor import in_reactor


@pytest.mark.parametrize(
    ("config", "path", "says"),
    [
        ({"mod": "observe"}, "mod", "'mod' is no known key; did you mean 'mode'?"),
        (
            {"sweep": {"enabled": True}},
            "sweep",
            "'sweep' must be true, false or {every: 24h}; found a mapping of enabled",
        ),
        (
            {"session_hold": 24},
            "session_hold",
            (
                "'session_hold' must be a duration such as 1s, 30m or 24h, a second or "
                "more; a number without a unit is milliseconds, 1000 or more; found 24"
            ),
        ),
    ],
)
@in_reactor
async def test_an_error_is_said_once(
    own_stage: Stage, config: dict[str, Any], path: str, says: str
) -> None:
    """With the path to it, as Synapse has it."""
    with pytest.raises(HomeserverError) as raised:
        await own_stage.start(config)
    lines = [line.strip() for line in str(raised.value).splitlines()]
    begins = lines.index(f"Error in configuration at 'modules.<item 0>.config.{path}':")
    assert [line for line in lines[begins + 1 :] if line] == [
        "Failed to parse config for module 'synapse_withheld.WithheldModule':",
        says,
    ]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("enforce", "acts on to-device messages (mode: enforce, "),
        (
            "observe",
            (
                "watches to-device messages and counts what it would have done "
                "(mode: observe, "
            ),
        ),
    ],
)
@in_reactor
async def test_the_log_says_at_start_what_the_module_does(
    own_stage: Stage, mode: str, says: str
) -> None:
    """Once; in observe mode, nothing."""
    homeserver = await own_stage.start({"mode": mode, "rules": None, "sweep": None})
    log = homeserver.log_path.read_text()
    assert log.count(says) == 1
    assert ("acts on" in log) == (mode == "enforce")
