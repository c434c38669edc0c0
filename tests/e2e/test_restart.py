"""What was queued before the module watched: collapsed on first touch, never lost."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.messages import PLAIN, WITHHELD, make_key, make_message
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import Stage, everything_tidied, two_on
from tests.harness.metrics.samples import counted, failures
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor


@on_both_databases
@in_reactor
async def test_backlog_from_before_a_restart_collapses(homeserver: Homeserver) -> None:
    """Olm messages may have been missed meanwhile: the newest notice stays."""
    two = await two_on(homeserver)
    other = two.notice(from_device="OTHERDEV")
    await two.send(two.notice(reason="before"))
    await two.send({"number": 1}, PLAIN)
    await two.send(other)
    await homeserver.restart()
    async with counted(homeserver) as decided:
        await two.send(two.notice(reason="after"))
        await eventually(
            two.mailbox,
            [
                two.queued({"number": 1}, PLAIN),
                two.queued(other),
                two.queued(two.notice(reason="after")),
            ],
        )
        await two.send(two.notice(reason="again"))
        # Of this pair only the first reading knows: nobody watched it either.
        newest = two.notice(from_device="OTHERDEV", reason="after")
        await two.send(newest)
        await eventually(
            two.mailbox,
            [
                two.queued({"number": 1}, PLAIN),
                two.queued(two.notice(reason="after")),
                two.queued(newest),
            ],
        )
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


@on_both_databases
@in_reactor
async def test_storm_that_ends_with_a_crash_leaves_one_notice(
    homeserver: Homeserver,
) -> None:
    """Killed in the middle: what was answered 200 is there, and the pair heals."""
    two = await two_on(homeserver)
    answered: dict[int, list[int]] = defaultdict(list)
    enough: Deferred[None] = Deferred()

    async def keep_sending(worker: int) -> None:
        for number in range(10_000):
            # A new key now and then: superseding is what a crash may interrupt.
            key = make_key(f"{worker} {number // 3}")
            await two.send(two.notice(sender_key=key))
            await two.send({"worker": worker, "number": number}, PLAIN)
            answered[worker].append(number)
            if sum(map(len, answered.values())) >= 100 and not enough.called:
                enough.callback(None)

    workers = [Deferred.fromCoroutine(keep_sending(worker)) for worker in range(8)]
    ended = DeferredList(workers, consumeErrors=True)
    await enough
    await homeserver.kill()
    # Each worker ends with an error: nobody answers any more.
    assert [succeeded for succeeded, _ in await ended] == [False] * 8
    await homeserver.start()
    newest = two.notice(sender_key=make_key("after the crash"))
    await two.send(newest)
    await everything_tidied(homeserver)
    queued = two.mailbox()
    notices = [message for message in queued if message["type"] == WITHHELD]
    assert notices[-1] == two.queued(newest)
    assert len(notices) == 1
    assert _answered_but_lost(queued, answered) == {}


def _answered_but_lost(
    queued: list[dict[str, Any]], answered: dict[int, list[int]]
) -> dict[int, list[int]]:
    """Compare in order; the last message of a worker may be there unanswered."""
    there: dict[int, list[int]] = defaultdict(list)
    for message in queued:
        if message["type"] == PLAIN:
            there[message["content"]["worker"]].append(message["content"]["number"])
    return {
        worker: numbers
        for worker, numbers in answered.items()
        if there[worker][: len(numbers)] != numbers
        or len(there[worker]) > len(numbers) + 1
    }


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


def test_lost_messages_would_be_seen() -> None:
    """A gap, a wrong order and too many unanswered messages are all losses."""

    def queued(*numbers: int) -> list[dict[str, Any]]:
        return [
            make_message("@a:b", {"worker": 1, "number": number}, PLAIN)
            for number in numbers
        ]

    assert _answered_but_lost(queued(0, 1, 2), {1: [0, 1]}) == {}
    for numbers in ((0,), (1, 0), (0, 2), (0, 1, 2, 3)):
        assert _answered_but_lost(queued(*numbers), {1: [0, 1]}) == {1: [0, 1]}
