"""What is sent from one server to another that is away for a while: pure data.

The recipient lives on the receiving server; one neighbour of theirs does, too. All
other senders live on the sending server. The receiving server is up, then killed,
then up again.
"""

from __future__ import annotations

from typing import Iterator, Sequence

from tests.demo.driving import AWAY, FRIEND, RECIPIENT, TABLET, Send
from tests.demo.notices import LEGACY, LOSES_KEYS, REARMED, REPEATS
from tests.harness.messages import (
    ENCRYPTED,
    OLDER_WITHHELD,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)

NEIGHBOUR = "neighbour"  # on the recipient's own server
SCOPED = "scoped"  # a notice for each session, and for everything in the end
TO_BOTH = "to_both"  # a notice to both devices in one request, a new key midway
SENDERS = (REPEATS, LOSES_KEYS, LEGACY, SCOPED, TO_BOTH, REARMED, FRIEND)

ROUNDS = 20
# Each of these is in the middle of the storm, not at its ends.
NEW_KEY_EVERY = 6
REARMED_IN = 11
KEY_LOST_IN = 9


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
    content = {"number": number}
    return Send(sender, PLAIN, {AWAY: content, TABLET: content})


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
