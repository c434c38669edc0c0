"""Which rows of mailboxes are redundant, told while they are read from their newest on.

What makes a row redundant is known before the row is looked at, and all that has to be
remembered is of one mailbox. Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Iterable, Iterator, List, NamedTuple, Optional

import attrs

from synapse_withheld.database.backlog import BacklogRow
from synapse_withheld.database.sql import MOST_OF_ROW, decode
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Backwards, Row, Staleness
from synapse_withheld.rules.ruleset import Ruleset

# How much of one mailbox is remembered. What only others make redundant stays.
MOST_SLOTS = 20_000

# How many texts of one mailbox are remembered: many copies are the same.
MOST_TEXTS = 1_000

# What each of some rows holds.
Told = List[Optional[Notice]]


class Found(NamedTuple):
    """A row with a notice.

    Attributes:
        rule: The rule's name.
        redundant: The row and what makes it redundant; `None` if it is needed.
        size: The bytes of its text.
    """

    rule: str
    redundant: Superseded | None
    size: int


@attrs.define
class _Mailbox:
    """A mailbox, going back in its stream.

    Attributes:
        newer_than: The newer row for which what has the same text may go; `None`
            where that has not been asked, or there is none.
    """

    key: MailboxKey
    walk: Backwards
    newer_than: dict[str, int | None] = attrs.Factory(dict)

    def judge(
        self, stream_id: int, notice: Notice, text: str, staleness: Staleness
    ) -> int | None:
        """Return the newer row for which a row may go; `None` if it stays."""
        newer_id = self.newer_than.get(text)
        if newer_id is not None:
            return newer_id
        stale = staleness.applies_to(notice)
        # Whoever stored it: the sender was checked by no process of which is known.
        row = Row(stream_id, notice, seen_arriving=False, stale=stale)
        newer_id = self.walk.judge(row)
        if text in self.newer_than:
            self.newer_than[text] = self.walk.newer_than(notice)
        elif len(self.newer_than) < MOST_TEXTS:
            # Most come once: what goes for it is asked when it comes again.
            self.newer_than[text] = None
        return newer_id


@attrs.define
class Covering:
    """One walk over mailboxes, against the order of their index.

    Attributes:
        rules: What is a notice, and which makes which redundant.
        known: What texts that were read last hold: a notice, or `None`.
    """

    rules: Ruleset
    known: dict[str, Notice | None] = attrs.field(factory=dict, init=False)
    _mailbox: _Mailbox = attrs.field(
        factory=lambda: _Mailbox(("", ""), Backwards(0)), init=False
    )

    def read(self, rows: Iterable[BacklogRow]) -> Told:
        """Return what rows hold: a notice, or `None`."""
        told: Told = []
        known = self.known = {}
        marks = self.rules.marks
        for row in rows:
            notice, text = None, row[3]
            if text is not None:
                # In most rows it is another type of message.
                for mark in marks:
                    if mark in text:
                        if text not in known:
                            known[text] = self._recognise(text)
                        notice = known[text]
                        break
            told.append(notice)
        return told

    def judge(
        self, rows: Iterable[BacklogRow], told: Told, staleness: Staleness
    ) -> Iterator[Found]:
        """Tell of each row with a notice whether it is needed.

        Args:
            rows: The next rows of the walk, as far as readers see them.
            told: What `read` returned for them.
            staleness: What no client heeds any more.
        """
        for (user_id, device_id, stream_id, text), notice in zip(rows, told):
            key = (user_id, device_id)
            if self._mailbox.key != key:
                self._mailbox = _Mailbox(key, Backwards(stream_id, MOST_SLOTS))
            if notice is None or text is None:
                continue
            newer_id = self._mailbox.judge(stream_id, notice, text, staleness)
            row = None if newer_id is None else Superseded(key, stream_id, newer_id)
            yield Found(notice.rule.name, row, _size(text))

    def _recognise(self, text: str) -> Notice | None:
        message = decode(text) if len(text) <= MOST_OF_ROW else None
        return None if message is None else self.rules.recognise(message)


def _size(text: str) -> int:
    # Without a copy for most of them.
    return len(text) if text.isascii() else len(text.encode())
