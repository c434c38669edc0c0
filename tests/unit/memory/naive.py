"""What a memory should hold and believe, told with full scans of everything.

Written from the design, without numbers, indices or limits: what passed is a list, and
what is asked about is looked up in it.
"""

from __future__ import annotations

from typing import Iterator

import attrs

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.requests import CANCELLATION
from synapse_withheld.rules.withheld import SessionWithheld


@attrs.define(eq=False)
class NaiveRow:
    """A row, or a notice on its way to be one."""

    box: NaiveBox | None
    key: MailboxKey
    notice: Notice
    began: int
    stream_id: int = 0
    seen: bool = False
    only_one: bool = True
    doubted: bool = False
    queued_s: float = 0.0


@attrs.define(eq=False)
class NaiveBox:
    handed_out: int
    learned: bool = False
    rows: list[NaiveRow] = attrs.Factory(list)


@attrs.define(eq=False)
class NaiveMemory:
    """Everything that happened, and what is remembered of it."""

    sees_reads: bool
    hold_s: float | None
    boxes: dict[MailboxKey, NaiveBox] = attrs.Factory(dict)
    in_flight: list[NaiveRow] = attrs.Factory(list)
    # Of each Olm message: when, for whom, from whom; to a device with a key or to all.
    olm: list[tuple[int, str, str, str | None, str | None]] = attrs.Factory(list)
    clock: int = 0

    def open(self, key: MailboxKey, handed_out: int) -> None:
        self.boxes.setdefault(key, NaiveBox(handed_out))

    def begin(self, key: MailboxKey, notice: Notice, now_s: float) -> NaiveRow:
        self.clock += 1
        row = NaiveRow(self.boxes.get(key), key, notice, self.clock, queued_s=now_s)
        self.in_flight.append(row)
        return row

    def settle(
        self, row: NaiveRow, stream_id: int, *, only_one: bool
    ) -> set[int] | None:
        """Return the rows that are redundant; `None` where it is lost."""
        self.in_flight.remove(row)
        box = self.boxes.get(row.key)
        if box is None or box is not row.box:
            if box is not None:
                box.learned = False
                for each in self.of_pair(row.key, row.notice):
                    each.doubted = True
            return None
        box.rows = [each for each in box.rows if each.stream_id != stream_id]
        row.stream_id, row.seen, row.only_one = stream_id, True, only_one
        box.rows.append(row)
        return self._tidy(box)

    def learn(
        self, key: MailboxKey, found: list[tuple[int, Notice]], stale: set[int]
    ) -> set[int]:
        box = self.boxes[key]
        known = {each.stream_id for each in box.rows}
        for stream_id, notice in found:
            if stream_id not in known:
                box.rows.append(NaiveRow(box, key, notice, self.clock, stream_id))
        return self._tidy(box, stale)

    def of_pair(self, key: MailboxKey, notice: Notice) -> list[NaiveRow]:
        box = self.boxes.get(key)
        rows = [] if box is None else box.rows
        return sorted(
            (each for each in rows if same_pair(each.notice, notice)),
            key=lambda each: each.stream_id,
        )

    def drop(self, key: MailboxKey, stream_id: int) -> None:
        box = self.boxes[key]
        box.rows = [each for each in box.rows if each.stream_id != stream_id]

    def note_olm(
        self, user: str, sender: str, device: str | None, key: str | None
    ) -> int:
        self.clock += 1
        self.olm.append((self.clock, user, sender, device, key))
        return sum(
            each.key[0] == user
            and each.notice.pair.sender == sender
            and (device is None or (each.key[1], each.notice.key) == (device, key))
            and (device is None or each.notice.rule.about_keys)
            for each in [*self.in_flight, *self.all_rows()]
        )

    def all_rows(self) -> Iterator[NaiveRow]:
        for box in self.boxes.values():
            yield from box.rows

    def believe(  # noqa: PLR0911 a return for each clause of the rule
        self, key: MailboxKey, notice: Notice, now_s: float
    ) -> tuple[Decision | None, int | None]:
        """Return what a notice is, and its row; `None` for some reason to store it."""
        if any(
            each.key == key
            and same_pair(each.notice, notice)
            and (each.notice.key, each.notice.variant) != (notice.key, notice.variant)
            for each in self.in_flight
        ):
            return decision.NOT_REPEATED, None
        rows = self.of_pair(key, notice)
        if not rows:
            return decision.FIRST, None
        says_it = [each for each in rows if each.seen and covers(each.notice, notice)]
        if not says_it:
            return None, None
        row = says_it[-1]
        if any(
            each.stream_id > row.stream_id and not covers(row.notice, each.notice)
            for each in rows
        ):
            return None, None
        if row.doubted or any(self._rearms(olm, row) for olm in self.olm):
            return decision.REARMED, None
        box = self.boxes[key]
        if self.sees_reads and row.stream_id <= box.handed_out:
            is_held = self.hold_s is not None and now_s - row.queued_s <= self.hold_s
            if not is_held or not notice.rule.once_per_session:
                return decision.READ, None
        return decision.DUPLICATE, row.stream_id

    def _rearms(
        self, olm: tuple[int, str, str, str | None, str | None], row: NaiveRow
    ) -> bool:
        when, user, sender, device, key = olm
        return (
            when > row.began
            and (user, sender) == (row.key[0], row.notice.pair.sender)
            and (device is None or (device, key) == (row.key[1], row.notice.key))
        )

    def _tidy(self, box: NaiveBox, stale: set[int] | None = None) -> set[int]:
        newest = max((each.stream_id for each in box.rows), default=0)
        gone = [
            old
            for old in box.rows
            if (stale and old.stream_id in stale and old.stream_id < newest)
            or any(goes(old, new) for new in box.rows)
        ]
        box.rows = [each for each in box.rows if each not in gone]
        return {each.stream_id for each in gone if each.only_one}


def same_pair(one: Notice, other: Notice) -> bool:
    return (one.rule.name, one.pair) == (other.rule.name, other.pair)


def covers(older: Notice, newer: Notice) -> bool:
    """Say whether a queued notice says all that a new one of its pair says."""
    if not newer.rule.about_keys:
        return False
    if isinstance(newer.rule, SessionWithheld):
        return older.variant == newer.variant
    says_less = older.variant == "scoped" and newer.variant == "whole"
    return older.key == newer.key and not says_less


def goes(old: NaiveRow, new: NaiveRow) -> bool:
    older, newer = old.notice, new.notice
    if old.stream_id >= new.stream_id or not same_pair(older, newer):
        return False
    if isinstance(newer.rule, SessionWithheld):
        return True
    if newer.rule.about_keys:
        says_more = older.variant == "whole" and newer.variant == "scoped"
        return not says_more and (older.key == newer.key or new.seen)
    if newer.variant == CANCELLATION:
        return True
    return older.variant != CANCELLATION and older.key == newer.key
