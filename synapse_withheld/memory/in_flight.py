"""What is on its way into the database."""

from __future__ import annotations

from typing import Dict, Iterator, Tuple

import attrs

from synapse_withheld.memory.tables.between import Between
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.records import count
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice, PairOfRule

# What a notice of a pair says: its key and its variant.
_Says = Tuple[str, str]
# A mailbox, a sender, and the key of the sender's device.
Ends = Tuple[MailboxKey, str, str]


@attrs.define(eq=False, weakref_slot=False)
class Storing:
    """A notice on its way into the database.

    Attributes:
        who: Whose room it takes.
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
        return self.notice.pair.sender

    @property
    def ends(self) -> Ends:
        return (self.mailbox, self.sender, self.notice.key)


class InFlight:
    """All that is in flight, whether or not its mailbox is remembered.

    Attributes:
        ends: Between whose devices, of what tells of Olm sessions.
    """

    def __init__(self) -> None:
        self.ends: Between[Ends] = Between()
        self._storing: Dict[Storing, None] = {}
        # By mailbox and pair: what is said, and how often.
        self._said: Dict[Tuple[MailboxKey, PairOfRule], Dict[_Says, int]] = {}

    def __len__(self) -> int:
        return len(self._storing)

    def __iter__(self) -> Iterator[Storing]:
        return iter(self._storing)

    def add(self, storing: Storing) -> None:
        self._storing[storing] = None
        place = (storing.mailbox, storing.notice.pair_of_rule)
        count(self._said.setdefault(place, {}), _says(storing.notice), 1)
        if storing.notice.rule.about_keys:
            self.ends.add(storing.ends)

    def remove(self, storing: Storing) -> None:
        del self._storing[storing]
        place = (storing.mailbox, storing.notice.pair_of_rule)
        count(self._said[place], _says(storing.notice), -1)
        if not self._said[place]:
            del self._said[place]
        if storing.notice.rule.about_keys:
            self.ends.remove(storing.ends)

    def any_of_pair(self, key: MailboxKey, notice: Notice) -> bool:
        """Say whether anything of a pair is in flight."""
        return (key, notice.pair_of_rule) in self._said

    def says_otherwise(self, key: MailboxKey, notice: Notice) -> bool:
        """Say whether anything of a pair is in flight that says something else."""
        said = self._said.get((key, notice.pair_of_rule), {})
        return len(said) > (_says(notice) in said)

    def is_rearmed(self, storing: Storing) -> bool:
        """Say whether an Olm message to the device passed since it began."""
        return self.ends.number(storing.ends) > storing.number


def _says(notice: Notice) -> _Says:
    return (notice.key, notice.variant)
