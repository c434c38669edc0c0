"""With `mode: observe` the module counts and changes nothing."""

from __future__ import annotations

from tests.harness.clients.messages import WITHHELD, make_key
from tests.harness.databases.mailbox import mailbox
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import log_in, two_on
from tests.harness.metrics.samples import counted, total
from tests.harness.processes.commands import command_line
from tests.harness.reactor import in_reactor


@in_reactor
async def test_observing_changes_nothing_and_counts(observing: Homeserver) -> None:
    """Every notice is stored; the decisions are those that would have been made."""
    two = await two_on(observing)
    new_key = two.notice(sender_key=make_key("another key"))
    notices = [*[two.notice()] * 3, *[new_key] * 2]
    async with counted(observing) as decided:
        for notice in notices:
            await two.send(notice)
    assert decided == {"deliver": 1, "collapse": 3, "supersede": 1}
    assert two.mailbox() == [two.queued(notice) for notice in notices]


@in_reactor
async def test_observing_leaves_wildcards_alone(observing: Homeserver) -> None:
    """A notice to `*` that would collapse is stored for every device."""
    two = await two_on(observing)
    second = await log_in(two.recipient, "SECOND")
    for _ in range(3):
        assert (
            await two.sender.send_to_device(
                WITHHELD, {two.recipient.user_id: {"*": two.notice()}}
            )
            == 200
        )
    expected = [two.queued(two.notice())] * 3
    assert two.mailbox() == expected
    assert mailbox(observing, second) == expected


@in_reactor
async def test_observing_deletes_nothing(observing: Homeserver) -> None:
    """Rows found by the first reading after a restart stay, too."""
    two = await two_on(observing)
    for _ in range(3):
        await two.send(two.notice())
    await observing.restart()
    await two.send(two.notice())
    await two.send(two.notice())
    queued = two.mailbox()
    assert queued == [two.queued(two.notice())] * 5
    metrics = await observing.metrics()
    assert total(metrics, "synapse_withheld_tidied_rows_total") == 0
    assert total(metrics, "synapse_withheld_info", mode="observe") == 1


@in_reactor
async def test_observing_is_told_as_what_would_have_been(observing: Homeserver) -> None:
    """By the commands: nothing collapsed, and nothing was saved."""
    two = await two_on(observing)
    for _ in range(3):
        await two.send(two.notice())
    for command in ("status", "check"):
        arguments = (command, "-c", "homeserver.yaml")
        result = command_line(*arguments, directory=observing.log_path.parent)
        assert (result.returncode, result.stderr) == (0, "")
        assert "would have collapsed" in result.stdout
        assert "bytes saved" not in result.stdout
        (collapsed,) = [
            line for line in result.stdout.splitlines() if "collapsed" in line
        ]
        assert "would have collapsed" in collapsed
