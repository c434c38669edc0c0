"""What is sent from one server to another that is away for a while: pure data.

The recipient lives on the receiving server; one neighbour of theirs does, too. All
other senders live on the sending server. The receiving server is up, then killed,
then up again.
"""

from __future__ import annotations

from typing import Iterator, Sequence

import attrs

from tests.demo.traffic import (
    AWAY,
    FRIEND,
    LEGACY,
    LOSES_KEYS,
    REARMED,
    RECIPIENT,
    REPEATS,
    TABLET,
    Send,
)
from tests.harness.messages import (
    ENCRYPTED,
    OLDER_WITHHELD,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)

OTHER = "m.dummy"

NEIGHBOUR = "neighbour"  # on the recipient's own server
SCOPED = "scoped"  # a notice for each session, and for everything in the end
TO_BOTH = "to_both"  # a notice to both devices in one request, a new key midway
SENDERS = (REPEATS, LOSES_KEYS, LEGACY, SCOPED, TO_BOTH, REARMED, FRIEND)

ROUNDS = 20
# Each of these is in the middle of the storm, not at its ends.
NEW_KEY_EVERY = 6
REARMED_IN = 11
KEY_LOST_IN = 9


@attrs.frozen
class Crossing:
    """All that is sent.

    Attributes:
        before: Sent while both servers are up, each arriving before the next.
        away: Sent while the receiving server is down.
        after: Sent when all that waited has arrived, each arriving before the next.
    """

    before: Sequence[Send]
    away: Sequence[Send]
    after: Sequence[Send]

    @property
    def sends(self) -> list[Send]:
        return [*self.before, *self.away, *self.after]


def make_crossing(rounds: int = ROUNDS) -> Crossing:
    """Make the messages, in which each sender repeats itself so often."""
    return Crossing(
        before=[
            _notice(NEIGHBOUR, -2),
            _notice(REPEATS, -2),
            _notice(REPEATS, -1),
            _notice(LOSES_KEYS, -1, key="0"),
            _olm(FRIEND, -1),
            _other(-1),
        ],
        away=[
            *(send for number in range(rounds) for send in _round(number)),
            _notice(SCOPED, rounds),
            _olm(FRIEND, rounds),
            _other(rounds),
        ],
        after=[
            # When everything has arrived nothing waits: these are delivered again.
            _notice(REPEATS, rounds + 1),
            _notice(REARMED, rounds + 1),
            _notice(NEIGHBOUR, rounds + 1),
            _notice(NEIGHBOUR, rounds + 2),
            _olm(RECIPIENT, 0, to=REARMED),
            _notice(REARMED, rounds + 2),
            _other(rounds + 1, NEIGHBOUR),
            _olm(FRIEND, rounds + 1),
            _other(rounds + 1),
        ],
    )


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
    content = make_olm_lookalike(_key(sender), _key(to), f"room key {number}")
    return Send(sender, ENCRYPTED, {AWAY if to == RECIPIENT else "FIRST": content}, to)


def _key(name: str) -> str:
    return make_key(name if name == RECIPIENT else f"{name} FIRST ")


def _other(number: int, sender: str = FRIEND) -> Send:
    content = {"number": number}
    return Send(sender, OTHER, {AWAY: content, TABLET: content})
