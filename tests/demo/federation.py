"""Four Synapses, two with the module: from each that sends to each that receives.

The recipient lives on the receiving server; one neighbour of theirs does, too. All
other senders live on the sending server. The receiving server is up, then killed,
then up again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterable, Iterator, Sequence

import attrs

from tests.demo.checks import Outcome, as_on_stock, copies, last_of_each_pair
from tests.demo.driving import (
    AWAY,
    FRIEND,
    RECIPIENT,
    TABLET,
    Cast,
    Send,
    device_id,
    settled,
)
from tests.demo.mailboxes import LEGACY, LOSES_KEYS, REARMED, REPEATS
from tests.demo.output import say, side_by_side
from tests.harness.messages import (
    ENCRYPTED,
    OLDER_WITHHELD,
    PLAIN,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.servers.homeserver import Homeserver, federating, running
from tests.harness.waiting import eventually, together

# Where the module is: on the server of the senders, on that of the recipient.
PLACEMENTS = {
    "none": (False, False),
    "sender": (True, False),
    "receiver": (False, True),
    "both": (True, True),
}

NEIGHBOUR = "neighbour"  # on the recipient's own server
SCOPED = "scoped"  # a notice for each session, and for everything in the end
TO_BOTH = "to_both"  # a notice to both devices in one request, a new key midway
SENDERS = (REPEATS, LOSES_KEYS, LEGACY, SCOPED, TO_BOTH, REARMED, FRIEND)

ROUNDS = 20
# Each of these is in the middle of the storm, not at its ends.
NEW_KEY_EVERY, REARMED_IN, KEY_LOST_IN = 6, 11, 9


def _round(number: int) -> Iterator[Send]:
    yield _notice(REPEATS, number)
    yield _notice(REPEATS, number, device="SECOND")
    yield _notice(LOSES_KEYS, number, key=str(number // NEW_KEY_EVERY))
    yield _olm(FRIEND, number)
    for kind in (WITHHELD, OLDER_WITHHELD):
        more = {"org.matrix.msgid": f"{kind} {number}"}
        yield _notice(LEGACY, number, kind, device=None, **more)
    room_id, session_id = f"!room{number % 2}:elsewhere", f"session{number % 4}"
    yield _notice(SCOPED, number, room_id=room_id, session_id=session_id)
    key = "lost" if number < KEY_LOST_IN else "new"
    yield _notice(TO_BOTH, number, key=key, to=(AWAY, TABLET))
    yield _other(number)
    if number == REARMED_IN:
        yield _olm(REARMED, number)
    yield _notice(REARMED, number)


def _notice(
    sender: str,
    number: int,
    message_type: str = WITHHELD,
    *,
    device: str | None = "FIRST",
    key: str = "",
    to: Sequence[str] = (AWAY,),
    **more: str,
) -> Send:
    # The number tells the copies apart, as real ones can differ.
    reason = f"Unable to establish a secure channel ({number})."
    sender_key = make_key(f"{sender} {device} {key}")
    content = make_notice(sender_key, device, reason=reason, **more)
    return Send(sender, message_type, dict.fromkeys(to, content))


def _olm(sender: str, number: int, to: str = RECIPIENT) -> Send:
    own, other = (make_key(f"{name} FIRST ") for name in (sender, to))
    content = make_olm_lookalike(own, other, f"room key {number}")
    return Send(sender, ENCRYPTED, {AWAY if to == RECIPIENT else "FIRST": content}, to)


def _other(number: int, sender: str = FRIEND) -> Send:
    return Send(sender, PLAIN, {each: {"number": number} for each in (AWAY, TABLET)})


# While both servers are up, each arriving before the next.
BEFORE = [
    _notice(NEIGHBOUR, -2),
    _notice(REPEATS, -2),
    _notice(REPEATS, -1),
    _notice(LOSES_KEYS, -1, key="0"),
    _olm(FRIEND, -1),
    _other(-1),
]
# While the receiving server is down.
MEANWHILE = [
    *(send for number in range(ROUNDS) for send in _round(number)),
    _notice(SCOPED, ROUNDS),
    _olm(FRIEND, ROUNDS),
    _other(ROUNDS),
]
# When all that waited has arrived, each arriving before the next. Nothing waits then:
# notices are delivered again.
AFTER = [
    _notice(REPEATS, ROUNDS + 1),
    _notice(REARMED, ROUNDS + 1),
    _notice(NEIGHBOUR, ROUNDS + 1),
    _notice(NEIGHBOUR, ROUNDS + 2),
    _olm(RECIPIENT, 0, to=REARMED),
    _notice(REARMED, ROUNDS + 2),
    _other(ROUNDS + 1, NEIGHBOUR),
    _olm(FRIEND, ROUNDS + 1),
    _other(ROUNDS + 1),
]


@attrs.define(eq=False)
class Link(Cast):
    """People on two servers, the recipient's and the senders', known to nobody else."""

    # The EDUs that waited while the recipient's server was away.
    waited: Sequence[str] = ()

    async def arrive(self, sends: Iterable[Send]) -> None:
        """Send, each when nothing waits any more of the one before it."""
        for send in sends:
            await self.send([send])
            await eventually(lambda: len(self.waiting()), 0)

    def waiting(self) -> list[str]:
        """Return the EDUs that wait for the recipient, in order: JSON text."""
        _, sending = self.homeservers
        sql = "SELECT messages_json FROM device_federation_outbox ORDER BY stream_id"
        # Others' wait there, too.
        ours = f'"{self.people[RECIPIENT].user_id}"'
        return [text for (text,) in sending.query(sql) if ours in text]


async def link(number: int, sending: Homeserver, receiving: Homeserver) -> Link:
    people = {}
    for name in (*SENDERS, NEIGHBOUR, RECIPIENT):
        server = receiving if name in {NEIGHBOUR, RECIPIENT} else sending
        device = TABLET if name == RECIPIENT else device_id(name)
        people[name] = await server.register(f"{name}{number}", device_id=device)
    tablet = people[RECIPIENT]
    return Link([receiving, sending], people, [await tablet.log_in(AWAY), tablet])


async def federate(directory: Path) -> Outcome:
    say("Starting four Synapses that federate, two of them with the module.")
    senders, receivers = (
        [federating(directory / role), federating(directory / f"{role}-module", {})]
        for role in ("sender", "receiver")
    )
    async with running(*senders, *receivers):
        links = {
            name: await link(number, senders[sender], receivers[receiver])
            for number, (name, (sender, receiver)) in enumerate(PLACEMENTS.items())
        }
        await _cross([*links.values()], senders, receivers)
        for each in links.values():
            await each.measure()
    sending, receiving = (
        [name for name, placed in PLACEMENTS.items() if placed[at]] for at in (0, 1)
    )
    waited = (copies(_alone(links[name].waited)) for name in sending)
    twice = [each for each in waited if each]
    table = {name: _told(name, each) for name, each in links.items()}
    return side_by_side(table, corner="the module is on"), {
        "no two notices of one pair wait, each alone in its EDU": twice,
        **last_of_each_pair(links, tidied=receiving),
        **as_on_stock(links, {name: sum(PLACEMENTS[name]) for name in links}),
    }


async def _cross(
    links: Sequence[Link], senders: list[Homeserver], receivers: list[Homeserver]
) -> None:
    await together(*(each.arrive(BEFORE) for each in links))
    say("Killing the receivers, sending on.")
    await together(*(each.kill() for each in receivers))
    await together(*(each.send(MEANWHILE) for each in links))
    await settled(senders)
    for each in links:
        each.waited = each.waiting()
    say("Starting the receivers again.")
    await together(*(each.start() for each in receivers))
    # That shows that they are back; what waits arrives with it.
    hello = Send(NEIGHBOUR, PLAIN, {"*": {"call": "hello"}}, to=SENDERS[0])
    await together(*(each.arrive([hello, *AFTER]) for each in links))
    await settled(receivers)


def _told(placement: str, one: Link) -> dict[str, str]:
    rows = one.rows()
    types = [json.loads(row)["type"] for row in rows]
    numbers = {
        "EDUs waiting while the other server is down": len(one.waited),
        "rows in the mailboxes after it is back": len(rows),
        "of these, notices": types.count(WITHHELD) + types.count(OLDER_WITHHELD),
        "syncs until the last room key": one.syncs,
        "requests that failed": one.failed,
    }
    if any(PLACEMENTS[placement]):
        numbers["failures of the module"] = one.sum("failures_total")
    return {label: f"{number:,}" for label, number in numbers.items()}


def _alone(edus: Iterable[str]) -> Iterator[str]:
    """Give the messages that share their EDU with no other, as rows have them."""
    for edu in map(json.loads, edus):
        contents = [each for to in edu["messages"].values() for each in to.values()]
        if len(contents) == 1:
            yield json.dumps(make_message(edu["sender"], contents[0], edu["type"]))
