"""What was queued before the module watched: collapsed on first touch, never lost."""

from __future__ import annotations

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.messages import PLAIN
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import Stage, two_on
from tests.harness.metrics.samples import counted, failures
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor


@on_both_databases
@in_reactor
async def test_backlog_from_before_a_restart_collapses(homeserver: Homeserver) -> None:
    """Olm messages may have been missed meanwhile: the newest notice stays."""
    two = await two_on(homeserver)
    await two.send(two.notice(reason="before"))
    plain = await two.send({"number": 1}, PLAIN)
    other = await two.send(two.notice(from_device="OTHERDEV"))
    await homeserver.restart()
    async with counted(homeserver) as decided:
        after = await two.send(two.notice(reason="after"))
        await eventually(two.mailbox, [plain, other, after])
        await two.send(two.notice(reason="again"))
        # Of this pair only the first reading knows: nobody watched it either.
        newest = await two.send(two.notice(from_device="OTHERDEV", reason="after"))
        await eventually(two.mailbox, [plain, after, newest])
    # What was queued before is found once the first is stored.
    assert decided == {"deliver": 1, "supersede": 1, "collapse": 1}


@on_both_databases
@in_reactor
async def test_sync_repeated_after_a_crash_gives_the_notice(
    homeserver: Homeserver,
) -> None:
    """What was answered and not acknowledged is answered again, newest only."""
    two = await two_on(homeserver)
    since = (await two.recipient.sync())["next_batch"]
    await two.send(two.notice(reason="before"))
    before = [two.queued(two.notice(reason="before"))]
    assert (await two.recipient.sync(since))["to_device"]["events"] == before
    await homeserver.kill()
    await homeserver.start()
    assert (await two.recipient.sync(since))["to_device"]["events"] == before
    await two.send(two.notice(reason="after"))
    after = [two.queued(two.notice(reason="after"))]
    await eventually(two.mailbox, after)
    # Another timeout makes it another request, which no cache answers.
    repeated = await two.recipient.sync(since, timeout_ms=1)
    assert repeated["to_device"]["events"] == after


@in_reactor
async def test_backlog_from_before_installation_collapses(own_stage: Stage) -> None:
    """The first notice of any pair cleans what stock Synapse let pile up."""
    site = own_stage.site()
    stock = await own_stage.start(None, site=site)
    two = await two_on(stock)
    older = [two.notice(reason=f"copy {number}") for number in range(30)]
    for number, notice in enumerate(older):
        await two.send(notice)
        if number % 10 == 0:
            await two.send({"number": number}, PLAIN)
        await two.send(two.notice(from_device="OTHERDEV", reason=str(number)))
    assert len(two.mailbox()) == 63
    await stock.stop()
    installed = await own_stage.start({}, site=site)
    two.sender.base_url = installed.base_url
    await two.send(two.notice(reason="newest"))
    await eventually(
        two.mailbox,
        [
            *(two.queued({"number": number}, PLAIN) for number in (0, 10, 20)),
            two.queued(two.notice(from_device="OTHERDEV", reason="29")),
            two.queued(two.notice(reason="newest")),
        ],
    )
    assert await failures(installed) == 0
