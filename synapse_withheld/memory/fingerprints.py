"""Numbers of a fixed size that stand for senders, pairs and keys.

Pairs are told apart with a secret that each process draws anew, so that nobody can aim
for the fingerprint of another. By chance, a new pair is taken for another one of a
mailbox of 20,000 with a probability of 1 in 2 to the power of 80.
"""

from __future__ import annotations

import hashlib
import secrets
from struct import Struct
from typing import NamedTuple

import attrs

from synapse_withheld.rules.notice import Notice

_TWO_WORDS = Struct(">QQ")
_WORD = (1 << 64) - 1
_HALF = 32
_LOW = (1 << _HALF) - 1

# From where all that is a sender's begins.
PLACES_OF_SENDER = 1 << _HALF


class Fingerprint(NamedTuple):
    """What stands for a notice within a mailbox.

    Attributes:
        place: What it is sorted by: 32 bits for the sender, so that all of a sender's
            are side by side, and 32 for the pair.
        check: 64 more bits for the pair; they tell apart what shares a place.
        key: For the sender with the sender's key.
    """

    place: int
    check: int
    key: int


class Fingerprints:
    """Makes fingerprints of notices with a secret of its own."""

    def __init__(self) -> None:
        """Draw the secret."""
        secret = secrets.token_bytes()
        self._hash = hashlib.blake2b(key=secret, digest_size=_TWO_WORDS.size)
        # A batch is mostly one notice for many devices, and each is asked about
        # several times.
        self._last: tuple[Notice, Fingerprint] | None = None

    def of(self, notice: Notice) -> Fingerprint:
        """Return the fingerprint of a notice."""
        last = self._last
        if last is None or (notice is not last[0] and notice != last[0]):
            last = self._last = (notice, self._make(notice))
        return last[1]

    def _make(self, notice: Notice) -> Fingerprint:
        pair = notice.pair
        sender = pair.sender
        hashed = self._hash.copy()
        # Unlike joined identifiers, what Python writes for them tells where each ends,
        # and can be encoded whatever is in them.
        written = repr((notice.rule.name, *attrs.astuple(pair, recurse=False)))
        hashed.update(written.encode())
        first, check = _TWO_WORDS.unpack(hashed.digest())
        key = key_of(sender, notice.key)
        place = place_of(sender) if notice.rule.about_keys else requests_of(sender)
        return Fingerprint(place | first >> _HALF, check, key)


# For the rest Python's own hashes will do. They are quick and kept with the strings: an
# Olm message of a sender of whom nothing is remembered costs next to nothing. They have
# a secret of the process too, unless PYTHONHASHSEED is set. Senders with the same place
# share a limit, and are not mistaken for each other; keys are compared within a pair,
# or to re-arm, which does no harm.


def place_of(sender: str) -> int:
    """Return where all that is a sender's begins."""
    return (hash(sender) & _LOW) << _HALF


def requests_of(sender: str) -> int:
    """Return where a sender's pairs begin that no Olm message re-arms.

    Apart, so that there may be many of them without an Olm message taking longer.
    """
    return place_of(f"requests of {sender}")


def places_beside(place: int) -> range:
    """Return all places of the sender whose place it is."""
    return range(place & ~_LOW, (place | _LOW) + 1)


def key_of(sender: str, sender_key: str) -> int:
    """Return what stands for a sender's key."""
    return hash((sender, sender_key)) & _WORD


def place_of_key(place: int, key: int) -> int:
    """Return the place of a sender's key, given any place of that sender."""
    return place & ~_LOW | key & _LOW
