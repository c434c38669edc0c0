"""What is sent from one server to another that is away for a while: pure data.

The recipient lives on the receiving server; one neighbour of theirs does, too. All
other senders live on the sending server. The receiving server is up, then killed,
then up again.
"""

from __future__ import annotations

from typing import Any, Iterator, Mapping

import attrs

from tests.demo.traffic import AWAY, TABLET
from tests.harness.clients.messages import (
    ENCRYPTED,
    OLDER_WITHHELD,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)

OTHER = "m.dummy"

RECIPIENT = "recipient"
NEIGHBOUR = "neighbour"  # on the recipient's own server

REPEATS = "repeats"  # the same notice again and again, of two devices
LOSES_KEYS = "loses_keys"  # the same device with a new key now and then
LEGACY = "legacy"  # numbered notices of both types that do not name their device
SCOPED = "scoped"  # a notice for each session, and for everything in the end
TO_BOTH = "to_both"  # a notice to both devices in one request, a new key midway
REARMED = "rearmed"  # the same notice again and again, an Olm message midway
FRIEND = "friend"  # has a session: room keys, and others that are no notices
SENDERS = (REPEATS, LOSES_KEYS, LEGACY, SCOPED, TO_BOTH, REARMED, FRIEND)

ROUNDS = 20
# Each of these is in the middle of the storm, not at its ends.
NEW_KEY_EVERY = 6
REARMED_IN = 11
KEY_LOST_IN = 9


@attrs.frozen
class Request:
    """One request to `sendToDevice`.

    Attributes:
        messages: A content for each device.
        to: Whose devices these are: the recipient's, but for replies.
    """

    sender: str
    message_type: str
    messages: Mapping[str, dict[str, Any]]
    to: str = RECIPIENT


@attrs.frozen
class Crossing:
    """All that is sent.

    Attributes:
        before: Sent while both servers are up, each arriving before the next.
        away: Sent while the receiving server is down.
        after: Sent when all that waited has arrived, each arriving before the next.
    """

    before: tuple[Request, ...]
    away: tuple[Request, ...]
    after: tuple[Request, ...]

    @property
    def requests(self) -> tuple[Request, ...]:
        return self.before + self.away + self.after


def make_crossing(rounds: int = ROUNDS) -> Crossing:
    """Make the messages, in which each sender repeats itself so often."""
    away = [request for number in range(rounds) for request in _round(number)]
    # When everything has arrived nothing waits: these are delivered again.
    again = _notice(REPEATS, number=rounds + 1), _notice(REARMED, number=rounds + 1)
    return Crossing(
        before=(
            _notice(NEIGHBOUR, number=-2),
            _notice(REPEATS, number=-2),
            _notice(REPEATS, number=-1),
            _notice(LOSES_KEYS, key="0", number=-1),
            _olm(FRIEND, -1),
            _other(-1),
        ),
        away=(
            *away,
            _notice(SCOPED, number=rounds),
            _olm(FRIEND, rounds),
            _other(rounds),
        ),
        after=(
            *again,
            _notice(NEIGHBOUR, number=rounds + 1),
            _notice(NEIGHBOUR, number=rounds + 2),
            _reply(REARMED),
            _notice(REARMED, number=rounds + 2),
            _other(rounds + 1, NEIGHBOUR),
            _olm(FRIEND, rounds + 1),
            _other(rounds + 1),
        ),
    )


def _round(number: int) -> Iterator[Request]:
    yield _notice(REPEATS, number=number)
    yield _notice(REPEATS, device="SECOND", number=number)
    yield _notice(LOSES_KEYS, key=str(number // NEW_KEY_EVERY), number=number)
    yield _olm(FRIEND, number)
    for message_type in (WITHHELD, OLDER_WITHHELD):
        more = {"org.matrix.msgid": f"{message_type} {number}"}
        yield _notice(LEGACY, message_type, device=None, number=number, more=more)
    yield _scoped(number)
    key = "lost" if number < KEY_LOST_IN else "new"
    yield _notice(TO_BOTH, key=key, devices=(AWAY, TABLET), number=number)
    yield _other(number)
    if number == REARMED_IN:
        yield _olm(REARMED, number)
    yield _notice(REARMED, number=number)


def _notice(
    sender: str,
    message_type: str = WITHHELD,
    *,
    number: int,
    device: str | None = "FIRST",
    key: str = "",
    devices: tuple[str, ...] = (AWAY,),
    more: Mapping[str, str] | None = None,
) -> Request:
    # The number tells the copies apart, as real ones can differ.
    reason = f"Unable to establish a secure channel ({number})."
    sender_key = make_key(f"{sender} {device} {key}")
    content = make_notice(sender_key, device, reason=reason, **(more or {}))
    return Request(sender, message_type, dict.fromkeys(devices, content))


def _scoped(number: int) -> Request:
    scope = number % 4
    more = {"room_id": f"!room{scope % 2}:elsewhere", "session_id": f"session{scope}"}
    return _notice(SCOPED, number=number, more=more)


def _olm(sender: str, number: int) -> Request:
    keys = make_key(f"{sender} FIRST "), make_key(RECIPIENT)
    content = make_olm_lookalike(*keys, f"room key {number}")
    return Request(sender, ENCRYPTED, {AWAY: content})


def _reply(to: str) -> Request:
    keys = make_key(RECIPIENT), make_key(f"{to} FIRST ")
    content = make_olm_lookalike(*keys, "room key 0")
    return Request(RECIPIENT, ENCRYPTED, {"FIRST": content}, to=to)


def _other(number: int, sender: str = FRIEND) -> Request:
    content = {"number": number}
    return Request(sender, OTHER, {AWAY: content, TABLET: content})
