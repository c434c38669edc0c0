"""Which rows of a mailbox are redundant, and which newer row makes each of them so.

Settling, learning and the sweep ask here, and nothing else decides it. A notice takes
slots of its pair and yields to others (`Rule.takes`, `Rule.yields_to`), so that a row
costs the same however many its pair has.
"""

from __future__ import annotations

import sys
from typing import Collection, Iterable, NamedTuple

import attrs

from synapse_withheld.rules.notice import Asker, Notice, PairOfRule, Slot


class Row(NamedTuple):
    """A notice in one mailbox.

    Attributes:
        stream_id: Where in the mailbox.
        seen_arriving: Whether this process saw it arrive and checked its sender. What
            was found in the database may be a spoof that an old Synapse stored.
        stale: Whether no client heeds it any more, as its caller knows; only requests
            become stale.
    """

    stream_id: int
    notice: Notice
    seen_arriving: bool = False
    stale: bool = False


@attrs.frozen
class Staleness:
    """Which requests no client heeds any more: too old, or from a device that is gone.

    A cancellation always stays, since somebody may have been shown its request.

    Attributes:
        now_ts: The time, in milliseconds since 1970.
        gone: Devices that do not exist any more.
    """

    now_ts: int = 0
    gone: Collection[Asker] = ()

    def applies_to(self, notice: Notice) -> bool:
        if notice.expires_ts is not None and notice.expires_ts <= self.now_ts:
            return True
        # They are many, and few devices are gone.
        return bool(self.gone) and notice.asker in self.gone


def askers_of(notices: Iterable[Notice]) -> set[Asker]:
    """Return the devices that have to exist for somebody to heed notices."""
    return {asker for asker in {each.asker for each in notices} if asker is not None}


def redundant(rows: Iterable[Row], newest_id: int) -> list[tuple[int, int]]:
    """Return which rows of one mailbox may go.

    Args:
        rows: In the order of their stream IDs; of any rules and pairs, as far as all
            rows of a pair are among them.
        newest_id: The newest stream ID of the mailbox, whatever it holds.

    Returns:
        The stream ID of each row that may go, in their order, and that of a newer row
        for which it may. That one stays itself.
    """
    walk = Backwards(newest_id)
    found = [(row.stream_id, walk.judge(row)) for row in reversed(list(rows))]
    return [(older, newer) for older, newer in reversed(found) if newer is not None]


@attrs.define
class Backwards:
    """One mailbox, judged row by row from its newest to its oldest.

    Attributes:
        newest_id: Its newest stream ID, whatever it holds.
        most_slots: How many slots are remembered. What would take more makes nothing
            redundant.
    """

    newest_id: int
    most_slots: int = sys.maxsize
    # Of most pairs there is one row: what slots it takes is asked when another comes.
    _taken: dict[PairOfRule, Row | dict[Slot, int]] = attrs.field(
        factory=dict, init=False
    )
    _slots: int = attrs.field(default=0, init=False)

    def judge(self, row: Row) -> int | None:
        """Return the newer row for which this one may go; `None` if it stays."""
        notice = row.notice
        pair = notice.pair_of_rule
        taken = self._taken.get(pair)
        if isinstance(taken, Row):
            taken = self._taken[pair] = dict.fromkeys(_slots(taken), taken.stream_id)
        newer_id = None if taken is None else _first(taken, notice)
        if row.stale and row.stream_id < self.newest_id:
            newer_id = self.newest_id
        # Whoever yields to this one may go for what stays.
        stays_id = row.stream_id if newer_id is None else newer_id
        if taken is None:
            if self._slots < self.most_slots:
                # Most stay, and are many.
                is_stale = newer_id is not None
                self._taken[pair] = (
                    row._replace(stream_id=stays_id) if is_stale else row
                )
                self._slots += 1
            return newer_id
        slots = _slots(row)
        if self._slots + len(slots) <= self.most_slots:
            before = len(taken)
            for slot in slots:
                taken.setdefault(slot, stays_id)
            self._slots += len(taken) - before
        return newer_id


def _slots(row: Row) -> tuple[Slot, ...]:
    notice = row.notice
    return notice.rule.takes(notice, seen_arriving=row.seen_arriving)


def _first(taken: dict[Slot, int], notice: Notice) -> int | None:
    for slot in notice.rule.yields_to(notice):
        if slot in taken:
            return taken[slot]
    return None
