"""What operators are told: metrics, what is said at start, and `mode: observe`."""

from __future__ import annotations

import pytest

from tests.harness.commands import command_line
from tests.harness.messages import ENCRYPTED, make_olm_lookalike
from tests.harness.reactor import in_reactor
from tests.harness.samples import DECISIONS, TIDIED, counted, failures, total
from tests.harness.servers.homeserver import Homeserver, HomeserverError
from tests.harness.servers.stage import Stage, everything_tidied, two_on

EVERY_RULE_ON = dict.fromkeys(
    ("withheld", "key_requests", "secret_requests", "verification_requests"), True
)


@in_reactor
async def test_what_is_counted_is_there_before_it_is_counted(own_stage: Stage) -> None:
    """`rate` and `increase` do not see the first burst of what appears with it."""
    homeserver = await own_stage.start({"rules": EVERY_RULE_ON})
    before = await homeserver.metrics()
    assert total(before, DECISIONS) == 0
    two = await two_on(homeserver)
    for content in (
        *[two.notice()] * 3,
        two.notice(sender_key="new key"),
        *[two.notice(code="m.unverified")] * 2,
        *(two.notice(code=code) for code in ("m.blacklisted", "org.example.made.up")),
        {"code": 1},
    ):
        await two.send(content)
    olm = make_olm_lookalike(two.sender_key)
    await two.send(olm, ENCRYPTED)
    await two.send(two.notice())
    await everything_tidied(homeserver)
    after = await homeserver.metrics()
    assert total(after, DECISIONS) > 0
    assert await failures(homeserver) == 0
    ours = [
        {each for each in metrics if each.startswith("synapse_withheld_")}
        for metrics in (before, after)
    ]
    assert ours[0] == ours[1]


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


@in_reactor
async def test_observing_changes_nothing_and_counts(observing: Homeserver) -> None:
    """Nor does the first reading after a restart; and commands say what it is."""
    two = await two_on(observing)
    new_key = two.notice(sender_key="another key")
    notices = [*[two.notice()] * 3, *[new_key] * 2]
    async with counted(observing) as decided:
        for notice in notices:
            await two.send(notice)
    assert decided == {"deliver": 1, "collapse": 3, "supersede": 1}
    await observing.restart()
    for _ in range(3):
        notices.append(two.notice())
        await two.send(two.notice())
    assert two.mailbox() == [two.queued(notice) for notice in notices]
    assert total(await observing.metrics(), TIDIED) == 0

    for command in ("status", "check"):
        arguments = (command, "-c", "homeserver.yaml")
        result = command_line(*arguments, directory=observing.log_path.parent)
        assert (result.returncode, result.stderr) == (0, "")
        assert "bytes saved" not in result.stdout
        (collapsed,) = [
            line for line in result.stdout.splitlines() if "collapsed" in line
        ]
        assert "would have collapsed" in collapsed
