"""Which rows of mailboxes are redundant, told while they are read from their newest on.

What makes a row redundant is known before the row is looked at, and all that has to be
remembered is of one mailbox. Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Iterable, Iterator, NamedTuple

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
class Covering:
    """One walk over mailboxes, against the order of their index.

    Attributes:
        known: What texts that were read last hold: a notice, or `None`.
    """

    rules: Ruleset
    known: dict[str, Notice | None] = attrs.field(factory=dict, init=False)
    _mailbox: MailboxKey | None = attrs.field(default=None, init=False)
    _walk: Backwards = attrs.field(factory=lambda: Backwards(0), init=False)
    # The newer row of this mailbox for which what has the same text may go; `None`
    # where that has not been asked, or there is none.
    _newer_than: dict[str, int | None] = attrs.field(factory=dict, init=False)

    def read(self, rows: Iterable[BacklogRow]) -> None:
        """Recognise what rows hold, each text once."""
        known = self.known = {}
        marks = self.rules.marks
        for _, _, _, text in rows:
            if text is not None:
                # In most rows it is another type of message.
                for mark in marks:
                    if mark in text:
                        if text not in known:
                            known[text] = self._recognise(text)
                        break

    def judge(
        self, rows: Iterable[BacklogRow], staleness: Staleness
    ) -> Iterator[Found]:
        """Tell of each row with a notice whether it is needed.

        Args:
            rows: The next rows of the walk, those that were read.
            staleness: What no client heeds any more.
        """
        for user_id, device_id, stream_id, text in rows:
            mailbox = (user_id, device_id)
            if self._mailbox != mailbox:
                self._mailbox, self._newer_than = mailbox, {}
                self._walk = Backwards(stream_id, MOST_SLOTS)
            notice = None if text is None else self.known.get(text)
            if notice is None or text is None:
                continue
            newer_id = self._newer_for(stream_id, notice, text, staleness)
            row = None if newer_id is None else Superseded(mailbox, stream_id, newer_id)
            # Without a copy for most of them.
            size = len(text) if text.isascii() else len(text.encode())
            yield Found(notice.rule.name, row, size)

    def _newer_for(
        self, stream_id: int, notice: Notice, text: str, staleness: Staleness
    ) -> int | None:
        """Return the newer row for which a row may go; `None` if it stays."""
        newer_id = self._newer_than.get(text)
        if newer_id is not None:
            return newer_id
        stale = staleness.applies_to(notice)
        # Whoever stored it: the sender was checked by no process of which is known.
        newer_id = self._walk.judge(Row(stream_id, notice, stale=stale))
        if text in self._newer_than:
            self._newer_than[text] = self._walk.newer_than(notice)
        elif len(self._newer_than) < MOST_TEXTS:
            # Most come once: what goes for it is asked when it comes again.
            self._newer_than[text] = None
        return newer_id

    def _recognise(self, text: str) -> Notice | None:
        message = decode(text) if len(text) <= MOST_OF_ROW else None
        return None if message is None else self.rules.recognise(message)
