"""Four Synapses, two with the module: from each that sends to each that receives."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Mapping

import attrs

from tests.demo.demonstration import Outcome
from tests.demo.driving import TIDY_WITHIN_S, catch_up
from tests.demo.federation.checks import (
    Crossed,
    check,
    expected_rows,
    left_otherwise,
    make_table,
    waited_otherwise,
)
from tests.demo.federation.people import Link, link
from tests.demo.federation.reference import PLACEMENTS, Placement, outbox
from tests.demo.federation.traffic import Crossing, make_crossing
from tests.demo.output.progress import Progress
from tests.harness.homeservers.federating import federating, in_order
from tests.harness.homeservers.homeserver import Homeserver, running
from tests.harness.metrics.samples import ACTIVE, FAILURES, total
from tests.harness.polling import become
from tests.harness.together import together


@attrs.frozen
class Quartet:
    """Four Synapses, by whether they have the module; a pair for each placement."""

    senders: Mapping[bool, Homeserver]
    receivers: Mapping[bool, Homeserver]

    @property
    def homeservers(self) -> tuple[Homeserver, ...]:
        return (*self.senders.values(), *self.receivers.values())

    async def link(self, placement: Placement) -> Link:
        return await link(
            self.senders[placement.sender], self.receivers[placement.receiver]
        )


@asynccontextmanager
async def quartet(
    directory: Path, new_database: Callable[[], dict[str, Any] | None] = lambda: None
) -> AsyncIterator[Quartet]:
    """Start four Synapses, with a `database:` section each; stop them in the end."""

    def pair(role: str, settings: Callable[[Any], Any]) -> dict[bool, Homeserver]:
        return {
            has: federating(
                directory / f"{role}-{'module' if has else 'stock'}",
                {} if has else None,
                settings(new_database()),
            )
            for has in (False, True)
        }

    four = Quartet(pair("sender", lambda each: each), pair("receiver", in_order))
    async with running(*four.homeservers):
        yield four


async def federate(directory: Path, progress: Progress, *, markdown: bool) -> Outcome:
    """Send between servers in all placements of the module, and compare them."""
    progress.say("Starting four Synapses that federate, two of them with the module.")
    crossing = make_crossing()
    async with quartet(directory) as four:
        outcomes = await cross(four, crossing, progress)
    return Outcome(make_table(outcomes, markdown=markdown), check(crossing, outcomes))


async def cross(
    four: Quartet, crossing: Crossing, progress: Progress
) -> tuple[Crossed, ...]:
    """Send the same messages in all placements at once, and look what is left."""
    links = await together(*(four.link(placement) for placement in PLACEMENTS))
    receivers = four.receivers.values()
    progress.total = len(links) * len(crossing.requests)
    sent = progress.sent
    await together(*(one.send_and_deliver(crossing.before, sent) for one in links))
    progress.say("Killing the receivers, sending on.")
    await together(*(each.kill() for each in receivers))
    await together(*(one.send(crossing.away, sent) for one in links))
    waited = await together(
        *(_waited(one, each, crossing) for one, each in zip(links, PLACEMENTS))
    )
    progress.say("Starting the receivers again.")
    await together(*(each.start() for each in receivers))
    await together(*(one.return_of_receiver() for one in links))
    await together(*(one.send_and_deliver(crossing.after, sent) for one in links))
    return tuple(
        await together(
            *(
                _crossed(one, each, crossing, edus)
                for one, each, edus in zip(links, PLACEMENTS, waited)
            )
        )
    )


async def _waited(
    one: Link, placement: Placement, crossing: Crossing
) -> tuple[str, ...]:
    """Return what waits, once the module has tidied or should have."""
    expected = outbox(crossing.away, placement)
    await become(lambda: not waited_otherwise(one.waiting(), expected), TIDY_WITHIN_S)
    return one.waiting()


async def _crossed(
    one: Link, placement: Placement, crossing: Crossing, waited: tuple[str, ...]
) -> Crossed:
    """Look what is left, once the module has tidied or should have."""
    expected = expected_rows(crossing, placement)
    await become(lambda: not left_otherwise(one.mailboxes(), expected), TIDY_WITHIN_S)
    mailboxes = one.mailboxes()
    metrics = [await each.metrics() for each in (one.sender, one.receiver)]
    catchup = await catch_up(one.away)
    return Crossed(
        placement,
        waited,
        mailboxes,
        synced=tuple(one.named(json.dumps(each)) for each in catchup.messages),
        syncs=catchup.syncs,
        failed=one.failed,
        failures=int(sum(total(each, FAILURES) for each in metrics)),
        active=sum(each.get(ACTIVE) == 1 for each in metrics),
    )
