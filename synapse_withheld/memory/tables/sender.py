"""What one sender has in one mailbox."""

from __future__ import annotations

from typing import Dict, Tuple

import attrs

from synapse_withheld.memory.tables.records import (
    ByAge,
    Record,
    insert,
    insert_into,
    remove,
    remove_from,
)
from synapse_withheld.rules.notice import Notice, Pair

# Up to so many records are looked through one by one: most senders have one, and
# dictionaries of one thing each would take more room than all the rest.
FEW = 8

_PairOfRule = Tuple[str, Pair]


@attrs.define(eq=False, weakref_slot=False)
class _ByWhat:
    """The records of a sender who has many, by what is asked for."""

    pairs: Dict[_PairOfRule, ByAge] = attrs.Factory(dict)
    rules: Dict[str, ByAge] = attrs.Factory(dict)
    keys: Dict[str, int] = attrs.Factory(dict)

    def insert(self, record: Record) -> None:
        notice = record.notice
        name = notice.rule.name
        insert_into(self.pairs, (name, notice.pair), record)
        insert_into(self.rules, name, record)
        if notice.rule.about_keys:
            self.keys[notice.key] = self.keys.get(notice.key, 0) + 1

    def remove(self, record: Record) -> None:
        notice = record.notice
        name = notice.rule.name
        remove_from(self.pairs, (name, notice.pair), record)
        remove_from(self.rules, name, record)
        if notice.rule.about_keys:
            self.keys[notice.key] -= 1
            if not self.keys[notice.key]:
                del self.keys[notice.key]


@attrs.define(eq=False, weakref_slot=False)
class Sender:
    """The records of one sender in one mailbox, and the Olm messages between them.

    Attributes:
        records: All of them.
    """

    records: ByAge
    # By the sender's key: the number of the last Olm message to the mailbox's device.
    # Most have none.
    _rearmed: Dict[str, int] | None = attrs.field(default=None, init=False)
    _by_what: _ByWhat | None = attrs.field(default=None, init=False)

    def of_pair(self, notice: Notice) -> ByAge:
        """Return the records of the pair of a notice."""
        name, pair = notice.rule.name, notice.pair
        if self._by_what is not None:
            return self._by_what.pairs.get((name, pair), [])
        return [
            each
            for each in self.records
            if each.notice.pair == pair and each.notice.rule.name == name
        ]

    def of_rule(self, name: str) -> ByAge:
        """Return the records of a rule."""
        if self._by_what is not None:
            return self._by_what.rules.get(name, [])
        return [each for each in self.records if each.notice.rule.name == name]

    def of_key(self, key: str) -> int:
        """Count the records that tell of the Olm session with a key."""
        if self._by_what is not None:
            return self._by_what.keys.get(key, 0)
        return sum(
            each.notice.key == key and each.notice.rule.about_keys
            for each in self.records
        )

    def insert(self, record: Record) -> None:
        """Remember one more."""
        insert(self.records, record)
        if self._by_what is not None:
            self._by_what.insert(record)
        elif len(self.records) > FEW:
            self._by_what = _ByWhat()
            for each in self.records:
                self._by_what.insert(each)

    def remove(self, record: Record) -> None:
        """Forget one."""
        remove(self.records, record)
        if self._by_what is not None:
            self._by_what.remove(record)
        key = record.notice.key
        if self._rearmed is not None and not self.of_key(key):
            self._rearmed.pop(key, None)

    def rearm(self, key: str, number: int) -> int:
        """Note an Olm message of a key; return how many records it re-arms."""
        records = self.of_key(key)
        # Others may send any keys: of those that nobody has, nothing is kept.
        if records:
            if self._rearmed is None:
                self._rearmed = {}
            self._rearmed[key] = number
        return records

    def is_rearmed(self, record: Record) -> bool:
        """Say whether an Olm message to the device passed since it was sorted."""
        rearmed = self._rearmed
        return rearmed is not None and rearmed.get(record.notice.key, 0) > record.number
