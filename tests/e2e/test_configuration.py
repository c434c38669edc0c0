"""What Synapse and its log say of the module's configuration at start."""

from __future__ import annotations

import pytest

from tests.harness.homeservers.homeserver import Homeserver, HomeserverError
from tests.harness.homeservers.stage import Stage
from tests.harness.reactor import in_reactor


@in_reactor
async def test_an_error_is_said_once(own_stage: Stage) -> None:
    """With the path to it, as Synapse has it."""
    with pytest.raises(HomeserverError) as raised:
        await own_stage.start({"rules": None, "sweep": {"enabled": True}})
    lines = [line.strip() for line in str(raised.value).splitlines() if line]
    begins = lines.index("Error in configuration at 'modules.<item 0>.config.sweep':")
    assert lines[begins + 1 :] == [
        "Failed to parse config for module 'synapse_withheld.WithheldModule':",
        "'sweep' must be true, false or {every: 24h}; found a mapping of enabled",
    ]


@in_reactor
async def test_the_log_says_at_start_what_the_module_does(
    homeserver: Homeserver, observing: Homeserver
) -> None:
    acts = "acts on to-device messages (mode: enforce, "
    watches = "and counts what it would have done (mode: observe, "
    logs = [each.log_path.read_text() for each in (homeserver, observing)]
    assert [(acts in log, watches in log) for log in logs] == [
        (True, False),
        (False, True),
    ]
