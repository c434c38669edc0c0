"""What is on its way into the database."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Tuple

import attrs

from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice, Pair

# What a notice of a pair says: its key and its variant.
_Says = Tuple[str, str]
_PairOfRule = Tuple[str, Pair]


@attrs.define(eq=False, weakref_slot=False)
class Storing:
    """A notice on its way into the database.

    Attributes:
        opened: The mailbox that was open when it began; `None` for none.
        number: How many Olm messages had passed when it began.
        began_s: When it began; it was not queued before.
        is_lost: Whether it was stored into a mailbox that is not the one that was open
            when it began: what that mailbox holds is to be learned.
        is_over: Whether it was settled or abandoned.
    """

    mailbox: MailboxKey
    notice: Notice
    who: str
    device_list_id: int
    opened: Mailbox | None
    number: int
    began_s: float
    is_lost: bool = False
    is_over: bool = False

    @property
    def sender(self) -> str:
        """Return who sends it."""
        return self.notice.pair.sender


@attrs.define(eq=False, weakref_slot=False)
class _Flight:
    """What one sender has in flight for one mailbox.

    Attributes:
        pairs: By pair: what is said, and how often.
        keys: How many there are that tell of the Olm session with a key.
        rearmed: By key: the number of the last Olm message to the device.
    """

    pairs: Dict[_PairOfRule, Dict[_Says, int]] = attrs.Factory(dict)
    keys: Dict[str, int] = attrs.Factory(dict)
    rearmed: Dict[str, int] | None = None


class InFlight:
    """All that is in flight, whether or not its mailbox is remembered."""

    def __init__(self) -> None:
        self._flights: Dict[Tuple[MailboxKey, str], _Flight] = {}
        self._storing: Dict[Storing, None] = {}

    def __len__(self) -> int:
        return len(self._storing)

    def __iter__(self) -> Iterator[Storing]:
        return iter(self._storing)

    def add(self, storing: Storing) -> None:
        """Note that a notice is on its way."""
        self._storing[storing] = None
        notice = storing.notice
        place = (storing.mailbox, storing.sender)
        flight = self._flights.get(place)
        if flight is None:
            flight = self._flights[place] = _Flight()
        says = flight.pairs.setdefault((notice.rule.name, notice.pair), {})
        _count(says, _said_by(notice), 1)
        if notice.rule.about_keys:
            _count(flight.keys, notice.key, 1)

    def remove(self, storing: Storing) -> None:
        """Note that a notice arrived, or will not."""
        del self._storing[storing]
        place, notice = (storing.mailbox, storing.sender), storing.notice
        flight = self._flights[place]
        says = flight.pairs[notice.rule.name, notice.pair]
        _count(says, _said_by(notice), -1)
        if not says:
            del flight.pairs[notice.rule.name, notice.pair]
        if notice.rule.about_keys:
            _count(flight.keys, notice.key, -1)
            if flight.rearmed is not None and notice.key not in flight.keys:
                flight.rearmed.pop(notice.key, None)
        if not flight.pairs:
            del self._flights[place]

    def any_of_pair(self, key: MailboxKey, notice: Notice) -> bool:
        """Say whether anything of a pair is in flight."""
        flight = self._flights.get((key, notice.pair.sender))
        return flight is not None and (notice.rule.name, notice.pair) in flight.pairs

    def says_otherwise(self, key: MailboxKey, notice: Notice) -> bool:
        """Say whether anything of a pair is in flight that says something else."""
        flight = self._flights.get((key, notice.pair.sender))
        if flight is None:
            return False
        says = flight.pairs.get((notice.rule.name, notice.pair), {})
        return len(says) > (_said_by(notice) in says)

    def rearm(self, key: MailboxKey, sender: str, sender_key: str, number: int) -> int:
        """Note an Olm message to a device; return how much it re-arms."""
        flight = self._flights.get((key, sender))
        if flight is None or sender_key not in flight.keys:
            return 0
        if flight.rearmed is None:
            flight.rearmed = {}
        flight.rearmed[sender_key] = number
        return flight.keys[sender_key]

    def is_rearmed(self, storing: Storing) -> bool:
        """Say whether an Olm message to the device passed since it began."""
        rearmed = self._flights[storing.mailbox, storing.sender].rearmed
        return rearmed is not None and (
            rearmed.get(storing.notice.key, 0) > storing.number
        )


def _said_by(notice: Notice) -> _Says:
    return (notice.key, notice.variant)


def _count(counts: Dict[Any, int], what: Any, more: int) -> None:
    now = counts.get(what, 0) + more
    if now:
        counts[what] = now
    else:
        del counts[what]
