"""Put rows in their place: what is redundant goes, what is beyond the limits too."""

from __future__ import annotations

from typing import Callable, Iterable, Sequence

from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.mailboxes import Mailboxes
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.redundant import Row, redundant


def settle(mailboxes: Mailboxes, mailbox: Mailbox, record: Record) -> list[Superseded]:
    """Remember a row that was seen being stored.

    Returns:
        The rows of its pair that are redundant now.
    """
    of_pair = mailbox.of_pair(record.notice)
    if not of_pair:
        # As it is for most.
        mailboxes.insert(mailbox, record)
        mailboxes.make_room(mailbox, record)
        return []
    known = {each.stream_id: each for each in of_pair}
    found = known.get(record.stream_id)
    if found is not None:
        # It was learned before it was settled.
        mailboxes.remove(mailbox, found)
    known[record.stream_id] = record
    mailboxes.insert(mailbox, record)
    rows = [_row(known[each]) for each in sorted(known)]
    goes = redundant(rows, rows[-1].stream_id)
    superseded = _remove(mailboxes, mailbox, goes, known)
    for older, _ in goes:
        mailboxes.note_redundant(mailbox, older, known[older].notice)
    # Rows may be settled in another order than that of their stream IDs.
    if all(older != record.stream_id for older, _ in goes):
        mailboxes.make_room(mailbox, record)
    return superseded


def learn(
    mailboxes: Mailboxes,
    mailbox: Mailbox,
    rows: Sequence[Row],
    newest_id: int,
    found: Callable[[Row], Record],
) -> list[Superseded]:
    """Remember rows that were found in the database.

    Args:
        mailboxes: All mailboxes.
        mailbox: The mailbox that they are in.
        rows: The rows.
        newest_id: The newest stream ID there, whatever it holds.
        found: What is to be remembered of a row.

    Returns:
        The rows that are redundant.
    """
    known = _known_of_pairs(mailbox, rows)
    all_rows = {row.stream_id: row for row in rows}
    stale = {row.stream_id for row in rows if row.stale}
    # Of what was seen being stored, more is known than what was found.
    for stream_id, record in known.items():
        all_rows[stream_id] = _row(record, stale=stream_id in stale)
    in_order = [all_rows[each] for each in sorted(all_rows)]
    goes = redundant(in_order, max(newest_id, *all_rows, 0))
    superseded = _remove(mailboxes, mailbox, goes, known)
    for older, _ in goes:
        mailboxes.note_redundant(mailbox, older, all_rows[older].notice)
    gone = {older for older, _ in goes}
    # The newest first: what finds no room are the oldest.
    for row in reversed(in_order):
        if row.stream_id not in known and row.stream_id not in gone:
            record = found(row)
            mailboxes.insert(mailbox, record)
            mailboxes.make_room(mailbox, record)
    return superseded


def _known_of_pairs(mailbox: Mailbox, rows: Iterable[Row]) -> dict[int, Record]:
    pairs = {(row.notice.rule.name, row.notice.pair): row.notice for row in rows}
    return {
        record.stream_id: record
        for notice in pairs.values()
        for record in mailbox.of_pair(notice)
    }


def _row(record: Record, *, stale: bool = False) -> Row:
    return Row(record.stream_id, record.notice, record.seen_arriving, stale)


def _remove(
    mailboxes: Mailboxes,
    mailbox: Mailbox,
    goes: Iterable[tuple[int, int]],
    known: dict[int, Record],
) -> list[Superseded]:
    """Forget what is redundant; return what of it may be deleted."""
    superseded = []
    for older, newer in goes:
        record = known.get(older)
        if record is not None:
            mailboxes.remove(mailbox, record)
        if record is None or record.only_one_in_row:
            superseded.append(Superseded(mailbox.key, older, newer))
    return superseded
