"""With `mode: observe` the module counts and changes nothing."""

from __future__ import annotations

from tests.harness.clients.messages import make_key
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import two_on
from tests.harness.metrics.samples import TIDIED, counted, total
from tests.harness.processes.commands import command_line
from tests.harness.reactor import in_reactor


@in_reactor
async def test_observing_changes_nothing_and_counts(observing: Homeserver) -> None:
    """Nor does the first reading after a restart; and commands say what it is."""
    two = await two_on(observing)
    new_key = two.notice(sender_key=make_key("another key"))
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
