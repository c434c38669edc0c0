"""What one sender has in one mailbox."""

from __future__ import annotations

from typing import Dict, Tuple, Union

import attrs

from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert,
    insert_into,
    remove,
    remove_from,
)
from synapse_withheld.rules.notice import Notice, PairOfRule, Rule

# Up to so many records are looked through one by one: most senders have one, and
# dictionaries of one thing each would take more room than all the rest.
FEW = 8

# By pair, by the name of a rule, and by key.
_Index = Dict[Union[PairOfRule, str, Tuple[str]], ByAge]


@attrs.define(eq=False, weakref_slot=False)
class Sender:
    """The records of one sender in one mailbox, and the Olm messages between them.

    Attributes:
        records: All of them; there is one at least.
    """

    records: ByAge
    # By the sender's key: the number of the last Olm message to the mailbox's device.
    # Most have none.
    _rearmed: Dict[str, int] | None = attrs.field(default=None, init=False)
    # Only of who has many.
    _index: _Index | None = attrs.field(default=None, init=False)

    def of_pair(self, notice: Notice) -> ByAge:
        pair = notice.pair_of_rule
        if self._index is not None:
            return self._index.get(pair, [])
        return [each for each in self.records if each.notice.pair_of_rule == pair]

    def of_rule(self, rule: Rule) -> ByAge:
        if self._index is not None:
            return self._index.get(rule.name, [])
        return [each for each in self.records if each.notice.rule.name == rule.name]

    def of_key(self, key: str) -> int:
        """Count the records that tell of the Olm session with a key."""
        if self._index is not None:
            return len(self._index.get((key,), ()))
        return sum(
            each.notice.key == key and each.notice.rule.about_keys
            for each in self.records
        )

    def insert(self, record: Record) -> None:
        insert(self.records, record)
        if self._index is not None:
            _file(self._index, record)
        elif len(self.records) > FEW:
            self._index = {}
            for each in self.records:
                _file(self._index, each)

    def remove(self, record: Record) -> None:
        remove(self.records, record)
        if self._index is not None:
            for name in _names(record):
                remove_from(self._index, name, record)
        key = record.notice.key
        if self._rearmed is not None and not self.of_key(key):
            self._rearmed.pop(key, None)

    def rearm(self, key: str, number: int) -> int:
        """Note an Olm message of a key; return how many records it re-arms."""
        rearmed = self.of_key(key)
        # Others may send any keys: of those that nobody has, nothing is kept.
        if rearmed:
            if self._rearmed is None:
                self._rearmed = {}
            self._rearmed[key] = number
        return rearmed

    def is_rearmed(self, record: Record) -> bool:
        """Say whether an Olm message to the device passed since it was sorted."""
        return (self._rearmed or {}).get(record.notice.key, 0) > record.number


def _file(index: _Index, record: Record) -> None:
    for name in _names(record):
        insert_into(index, name, record)


def _names(record: Record) -> list[PairOfRule | str | tuple[str]]:
    notice = record.notice
    keys = [(notice.key,)] if notice.rule.about_keys else []
    return [notice.pair_of_rule, notice.rule.name, *keys]
