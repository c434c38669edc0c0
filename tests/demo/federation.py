"""Four Synapses, two with the module: from each that sends to each that receives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable, Iterator, Mapping, Sequence

import attrs

from tests.demo import checks
from tests.demo.checks import NOTICE_TYPES, Check, Outcome, copies
from tests.demo.crossing import AFTER, BEFORE, MEANWHILE, NEIGHBOUR, SENDERS
from tests.demo.driving import (
    AWAY,
    RECIPIENT,
    TABLET,
    TIDY_WITHIN_S,
    Cast,
    Send,
    device_id,
)
from tests.demo.output import say, side_by_side
from tests.harness.messages import PLAIN, make_message
from tests.harness.servers.homeserver import Homeserver, federating, running
from tests.harness.servers.stage import log_in
from tests.harness.waiting import become, eventually, together

# Where the module is: on the server of the senders, on that of the recipient.
PLACEMENTS = {
    "none": (False, False),
    "sender": (True, False),
    "receiver": (False, True),
    "both": (True, True),
}


@attrs.define(eq=False)
class Link(Cast):
    """People on two servers, known to nobody else; the recipient has two devices.

    Attributes:
        sending: The server of those who send; the other one is the recipient's.
        waited: The EDUs that waited while that one was away.
    """

    sending: Homeserver
    waited: Sequence[str] = attrs.field(default=(), init=False)

    async def arrive(self, sends: Iterable[Send]) -> None:
        """Send, each when nothing waits any more of the one before it."""
        for send in sends:
            await self.send([send])
            await eventually(lambda: not self.waiting(), True)

    async def wait_for_receiver(self, *, has_module: bool) -> None:
        """Note what waits, once the module has tidied it or should have."""
        if has_module:
            await become(lambda: not copies(alone(self.waiting())), TIDY_WITHIN_S)
        self.waited = self.waiting()

    def waiting(self) -> list[str]:
        """Return the EDUs that wait for the recipient, in order: JSON text."""
        rows = self.sending.query(
            """
            SELECT messages_json FROM device_federation_outbox
            WHERE destination = ? ORDER BY stream_id
            """,
            (self.homeserver.server_name,),
        )
        # Others' wait for the same server.
        ours = f'"{self.people[RECIPIENT].user_id}"'
        return [text for (text,) in rows if ours in text]

    async def counts(self) -> Mapping[str, float]:
        """Return what both servers count."""
        found, sending = await super().counts(), await self.sending.metrics()
        return {n: found.get(n, 0) + sending.get(n, 0) for n in {*found, *sending}}


async def link(number: int, sending: Homeserver, receiving: Homeserver) -> Link:
    people = {}
    for name in (*SENDERS, NEIGHBOUR, RECIPIENT):
        server = receiving if name in {NEIGHBOUR, RECIPIENT} else sending
        device = TABLET if name == RECIPIENT else device_id(name)
        people[name] = await server.register(f"{name}{number}", device_id=device)
    tablet = people[RECIPIENT]
    away = await log_in(tablet, AWAY)
    return Link(receiving, people, [away, tablet], sending)


def alone(edus: Iterable[str]) -> Iterator[str]:
    """Give the messages that share their EDU with no other, as rows have them."""
    for edu in map(json.loads, edus):
        contents = [each for to in edu["messages"].values() for each in to.values()]
        if len(contents) == 1:
            yield json.dumps(make_message(edu["sender"], contents[0], edu["type"]))


async def federate(directory: Path) -> Outcome:
    """Send between servers in all placements of the module, and compare them."""
    say("Starting four Synapses that federate, two of them with the module.")
    kinds: dict[str, dict[str, Any] | None] = {"stock": None, "module": {}}
    senders, receivers = (
        [federating(directory / f"{role}-{kind}", kinds[kind]) for kind in kinds]
        for role in ("sender", "receiver")
    )
    async with running(*senders, *receivers):
        links = {
            name: await link(number, senders[sender], receivers[receiver])
            for number, (name, (sender, receiver)) in enumerate(PLACEMENTS.items())
        }
        await _cross(links, receivers)
        for name, (_, receiver) in PLACEMENTS.items():
            if receiver:
                await links[name].settled(lambda rows: not copies(rows))
        for each in links.values():
            await each.measure()
    table = {name: _told(name, each) for name, each in links.items()}
    return Outcome(side_by_side(table, corner="the module is on"), _check(links))


async def _cross(links: Mapping[str, Link], receivers: Sequence[Homeserver]) -> None:
    """Send the same messages in all placements at once."""
    every = links.values()
    await together(*(each.arrive(BEFORE) for each in every))
    say("Killing the receivers, sending on.")
    await together(*(each.kill() for each in receivers))
    await together(*(each.send(MEANWHILE) for each in every))
    for name, (sender, _) in PLACEMENTS.items():
        await links[name].wait_for_receiver(has_module=sender)
    say("Starting the receivers again.")
    await together(*(each.start() for each in receivers))
    # That shows that they are back; what waits arrives with it.
    hello = Send(NEIGHBOUR, PLAIN, {"*": {"call": "hello"}}, to=SENDERS[0])
    await together(*(each.arrive([hello]) for each in every))
    await together(*(each.arrive(AFTER) for each in every))


def _told(placement: str, one: Link) -> dict[str, str]:
    rows = one.rows()
    notices = [row for row in rows if json.loads(row)["type"] in NOTICE_TYPES]
    numbers = {
        "EDUs waiting while the other server is down": len(one.waited),
        "rows in the mailboxes after it is back": len(rows),
        "of these, notices": len(notices),
        "syncs until the last room key": one.syncs,
        "requests that failed": one.failed,
    }
    if any(PLACEMENTS[placement]):
        numbers["failures of the module"] = one.sum("failures_total")
    return {label: f"{number:,}" for label, number in numbers.items()}


def _check(links: Mapping[str, Link]) -> list[Check]:
    sending, receiving = (
        [name for name, placed in PLACEMENTS.items() if placed[at]] for at in (0, 1)
    )
    return [
        Check(
            "no two notices of one pair wait, each alone in its EDU",
            [*filter(None, (copies(alone(links[name].waited)) for name in sending))],
        ),
        *checks.last_of_each_pair(links, tidied=receiving),
        *checks.as_on_stock(links, {name: sum(PLACEMENTS[name]) for name in links}),
    ]
