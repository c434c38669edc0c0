"""Four Synapses, two with the module: from each that sends to each that receives."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Mapping, Sequence

from tests.demo.checks import (
    NOTICE_TYPES,
    Check,
    Outcome,
    as_on_stock,
    copies,
    everywhere,
    newest_of_each_pair,
    one_of_each_pair,
)
from tests.demo.crossing import Crossing, make_crossing
from tests.demo.driving import Measured
from tests.demo.link import Link, alone, link
from tests.demo.output import Progress, side_by_side
from tests.harness.samples import FAILURES, total
from tests.harness.servers.homeserver import Homeserver, federating, running
from tests.harness.waiting import together

# Where the module is: on the server of the senders, on that of the recipient.
PLACEMENTS = {
    "none": (False, False),
    "sender": (True, False),
    "receiver": (False, True),
    "both": (True, True),
}


@asynccontextmanager
async def federate(directory: Path, progress: Progress) -> AsyncIterator[Outcome]:
    """Send between servers in all placements of the module, and compare them."""
    progress.say("Starting four Synapses that federate, two of them with the module.")
    kinds: dict[str, dict[str, Any] | None] = {"stock": None, "module": {}}
    senders, receivers = (
        [federating(directory / f"{role}-{kind}", kinds[kind]) for kind in kinds]
        for role in ("sender", "receiver")
    )
    async with running(*senders, *receivers):
        crossing = make_crossing()
        links = {
            name: await link(senders[sender], receivers[receiver], progress)
            for name, (sender, receiver) in PLACEMENTS.items()
        }
        progress.total = len(links) * len(crossing.sends)
        await _cross(crossing, links, receivers, progress)
        for name, (_, receiver) in PLACEMENTS.items():
            if receiver:
                await links[name].settled(lambda rows: not copies(rows))
        found = {name: await each.measure() for name, each in links.items()}
        columns = {name: _told(name, one) for name, one in found.items()}
        table = side_by_side(columns, corner="the module is on")
        yield Outcome(table, _check(crossing, found), [*links.values()])


async def _cross(
    crossing: Crossing,
    links: Mapping[str, Link],
    receivers: Sequence[Homeserver],
    progress: Progress,
) -> None:
    """Send the same messages in all placements at once."""
    every = links.values()
    await together(*(each.arrive(crossing.before) for each in every))
    progress.say("Killing the receivers, sending on.")
    await together(*(each.kill() for each in receivers))
    await together(*(each.send(crossing.away) for each in every))
    for name, (sender, _) in PLACEMENTS.items():
        await links[name].wait_for_receiver(has_module=sender)
    progress.say("Starting the receivers again.")
    await together(*(each.start() for each in receivers))
    await together(*(each.come_back() for each in every))
    await together(*(each.arrive(crossing.after) for each in every))


def _told(placement: str, one: Measured) -> dict[str, str]:
    notices = [row for row in one.rows if json.loads(row)["type"] in NOTICE_TYPES]
    counts = {
        "EDUs waiting while the other server is down": len(one.waited),
        "rows in the mailboxes after it is back": len(one.rows),
        "of these, notices": len(notices),
        "syncs until the last room key": one.syncs,
        "requests that failed": one.failed,
    }
    if any(PLACEMENTS[placement]):
        counts["failures of the module"] = int(total(one.metrics, FAILURES))
    return {label: f"{count:,}" for label, count in counts.items()}


def _check(crossing: Crossing, found: Mapping[str, Measured]) -> list[Check]:
    sending, receiving = (
        {name: one for name, one in found.items() if PLACEMENTS[name][at]}
        for at in (0, 1)
    )
    return [
        everywhere(
            "no two notices of one pair wait, each alone in its EDU",
            sending,
            lambda one: copies(alone(one.waited)),
        ),
        one_of_each_pair(receiving),
        newest_of_each_pair(found, crossing.sends, called=str),
        *as_on_stock(found, {name: sum(PLACEMENTS[name]) for name in found}),
    ]
