"""What is on its way into the database."""

from __future__ import annotations

from typing import Dict, Iterator, Tuple

from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.records import Between, Record, count
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice, PairOfRule

# What a notice of a pair says: its key and its variant.
_Says = Tuple[str, str]
# A mailbox, a sender, and the key of the sender's device.
Ends = Tuple[MailboxKey, str, str]


class InFlight:
    """Records of what is in flight, whether or not its mailbox is remembered.

    Attributes:
        ends: Between whose devices, of what tells of Olm sessions.
    """

    def __init__(self) -> None:
        self.ends: Between[Ends] = Between()
        # With the mailbox that was open when each began.
        self._opened: Dict[Record, Mailbox | None] = {}
        # By mailbox and pair: what is said, and how often.
        self._said: Dict[Tuple[MailboxKey, PairOfRule], Dict[_Says, int]] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._opened)

    def add(self, record: Record, opened: Mailbox | None) -> None:
        self._opened[record] = opened
        place = (record.mailbox, record.notice.pair_of_rule)
        count(self._said.setdefault(place, {}), _says(record.notice), 1)
        if record.notice.rule.about_keys:
            self.ends.add(_ends(record))

    def remove(self, record: Record) -> None:
        del self._opened[record]
        place = (record.mailbox, record.notice.pair_of_rule)
        count(self._said[place], _says(record.notice), -1)
        if not self._said[place]:
            del self._said[place]
        if record.notice.rule.about_keys:
            self.ends.remove(_ends(record))

    def opened(self, record: Record) -> Mailbox | None:
        """Return the mailbox that was open when it began; `None` for none."""
        return self._opened[record]

    def any_of_pair(self, key: MailboxKey, notice: Notice) -> bool:
        return (key, notice.pair_of_rule) in self._said

    def says_otherwise(self, key: MailboxKey, notice: Notice) -> bool:
        """Say whether anything of a pair is in flight that says something else."""
        said = self._said.get((key, notice.pair_of_rule), {})
        return len(said) > (_says(notice) in said)

    def is_rearmed(self, record: Record) -> bool:
        """Say whether an Olm message to the device passed since it began."""
        return self.ends.number(_ends(record)) > record.number


def _ends(record: Record) -> Ends:
    return (record.mailbox, record.sender, record.notice.key)


def _says(notice: Notice) -> _Says:
    return (notice.key, notice.variant)
