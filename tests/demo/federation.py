"""Four Synapses, two with the module: from each that sends to each that receives."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Dict, List, Mapping, Sequence, Tuple

from tests.demo import checks
from tests.demo.checks import NOTICE_TYPES, Check, canonical, difference
from tests.demo.crossing import Crossing, make_crossing
from tests.demo.driving import Measured, Outcome
from tests.demo.link import Link, alone, link
from tests.demo.output import Progress, side_by_side
from tests.demo.traffic import AWAY
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
                await links[name].settled(lambda rows: not checks.copies(rows))
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
    """Check all that has to hold, compared with what is without the module."""
    stock = _others(found["none"])
    troubles: dict[str, Callable[[str, Measured], str]] = {
        "no two notices of one pair wait alone in their EDUs": lambda name, one: (
            _copies(PLACEMENTS[name][0], [*alone(one.waited)])
        ),
        "no mailbox holds two notices of one pair": lambda name, one: _copies(
            PLACEMENTS[name][1], *one.mailboxes.values()
        ),
        "a notice of every pair is queued, with its last key": lambda _, one: (
            checks.newest_of_each_pair(one.mailboxes, crossing.sends, str).trouble
        ),
        "every other message is stored byte for byte as without the module": (
            lambda _, one: _difference(stock, _others(one))
        ),
        "the next syncs give all that is in the mailbox": lambda _, one: difference(
            [canonical(json.loads(row)) for row in one.mailboxes[AWAY]],
            [*map(canonical, one.synced)],
        ),
        "the module acted where it was, without failures of its own": (
            lambda name, one: (
                checks.module_acted(one.metrics, sum(PLACEMENTS[name])).trouble
            )
        ),
        "every request was answered 200": lambda _, one: str(one.failed or ""),
    }
    return [
        checks.everywhere(fact, {name: trouble(name, found[name]) for name in found})
        for fact, trouble in troubles.items()
    ]


def _copies(has_module: bool, *mailboxes: Sequence[str]) -> str:
    found = [many for rows in mailboxes if (many := checks.copies(rows))]
    return str(found) if has_module and found else ""


# Messages by device and sender, in order. Those of different senders overtake each
# other on their way, with and without the module.
Lanes = Dict[Tuple[str, str], List[str]]


def _others(one: Measured) -> Lanes:
    """Return the rows that are no notices."""
    lanes: Lanes = defaultdict(list)
    for device, rows in one.mailboxes.items():
        for row in rows:
            message = json.loads(row)
            if message["type"] not in NOTICE_TYPES:
                lanes[device, message["sender"]].append(row)
    return lanes


def _difference(stock: Lanes, ours: Lanes) -> str:
    """Return the first difference of each lane; empty if there is none."""
    lanes = sorted({*stock, *ours})
    found = {each: difference(stock[each], ours[each]) for each in lanes}
    return "; ".join(f"{lane}: {text}" for lane, text in found.items() if text)
