"""Put rows in their place: what is redundant goes, what is beyond the limits too."""

from __future__ import annotations

from typing import Callable, Collection, Dict, Sequence

from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.mailboxes import Mailboxes
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.redundant import Row, redundant

_ById = Dict[int, Record]


def settle(mailboxes: Mailboxes, mailbox: Mailbox, record: Record) -> list[Superseded]:
    """Remember a row that was seen being stored; return what is redundant now."""
    known = {each.stream_id: each for each in mailbox.of_pair(record.notice)}
    if not known:
        # As it is for most.
        mailboxes.insert(mailbox, record)
        return []
    found = known.pop(record.stream_id, None)
    if found is not None:
        # It was learned before it was settled.
        mailboxes.remove(mailbox, found)
    new = {record.stream_id: record}
    return _place(mailboxes, mailbox, known, new, record.stream_id, ())


def learn(
    mailboxes: Mailboxes,
    mailbox: Mailbox,
    rows: Sequence[Row],
    newest_id: int,
    who_of: Callable[[str, str], str],
) -> list[Superseded]:
    """Remember rows that were found in the database; return what is redundant.

    The newest stream ID is that of the mailbox, whatever it holds. `who_of` says whose
    room a row takes, given its sender and the recipient.
    """
    key = mailbox.key
    pairs = {row.notice.pair_of_rule: row.notice for row in rows}
    known = {
        record.stream_id: record
        for notice in pairs.values()
        for record in mailbox.of_pair(notice)
    }
    # Of what was seen being stored, more is known than what was found.
    new = {
        row.stream_id: Record(
            row.stream_id, row.notice, key, who_of(row.notice.pair.sender, key[0])
        )
        for row in rows
        if row.stream_id not in known
    }
    stale = {row.stream_id for row in rows if row.stale}
    return _place(mailboxes, mailbox, known, new, newest_id, stale)


def _place(  # noqa: PLR0913, PLR0917 what there is to know of a mailbox
    mailboxes: Mailboxes,
    mailbox: Mailbox,
    known: _ById,
    new: _ById,
    newest_id: int,
    stale: Collection[int],
) -> list[Superseded]:
    """Remember new rows of some pairs, of which all others are known.

    What is redundant is forgotten; what of it may be deleted is returned.
    """
    superseded = []
    together = {**known, **new}
    rows = [
        Row(each, record.notice, record.seen_arriving, each in stale)
        for each, record in sorted(together.items())
    ]
    for older, newer in redundant(rows, max([newest_id, *together])):
        record = together[older]
        if new.pop(older, None) is None:
            mailboxes.remove(mailbox, record)
        if record.only_one_in_row:
            superseded.append(Superseded(mailbox.key, older, newer))
        mailboxes.note_redundant(mailbox, older, record.notice)
    for record in sorted(new.values()):
        mailboxes.insert(mailbox, record)
    return superseded
