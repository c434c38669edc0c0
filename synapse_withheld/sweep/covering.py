"""Which rows of mailboxes are redundant, told while they are read from their newest on.

What makes a row redundant is known before the row is looked at, and all that has to be
remembered is of one mailbox. Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Iterable, Iterator, NamedTuple, Optional, Tuple

import attrs

from synapse_withheld.database.sql import MOST_OF_ROW, decode
from synapse_withheld.rules.content import without_tracing
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Backwards, Row, Staleness
from synapse_withheld.rules.requests import Later
from synapse_withheld.rules.ruleset import Ruleset

# How much of one mailbox is remembered. What only others make redundant stays.
MOST_SLOTS = 20_000

# How many texts are remembered: many copies are the same.
MOST_TEXTS = 1_000

# A row: its place, the notice that it holds, and how many bytes its text then has.
Seen = Tuple[str, str, int, Optional[Notice], int]


class Found(NamedTuple):
    """A row with a notice: its rule, what makes it redundant, if it is, and bytes."""

    rule: str
    redundant: Superseded | None
    size: int


@attrs.define
class Covering:
    """One walk over mailboxes, against the order of their index."""

    rules: Ruleset
    # Of rules about keys: by the text without what is another in each copy.
    _known: dict[str, Notice] = attrs.field(factory=dict, init=False)
    _mailbox: MailboxKey | None = attrs.field(default=None, init=False)
    _walk: Backwards = attrs.field(factory=lambda: Backwards(0), init=False)

    def recognise(self, text: str) -> Notice | None:
        for mark in self.rules.marks:
            if mark in text:
                break
        else:
            # In most rows it is another type of message.
            return None
        if len(text) > MOST_OF_ROW:
            return None
        same = without_tracing(text)
        notice = None if same is None else self._known.get(same)
        if notice is not None:
            return notice
        message = decode(text)
        notice = None if message is None else self.rules.recognise(message)
        if notice is None:
            return None
        if same is not None and notice.rule.about_keys:
            if len(self._known) >= MOST_TEXTS:
                self._known.clear()
            self._known[same] = notice
        elif isinstance(notice.key, Later):
            # Of all that was read of it, nothing else is needed.
            notice.key.source = text
        return notice

    def seen(
        self, user_id: str, device_id: str, stream_id: int, text: str | None
    ) -> Seen:
        """Return a row as it is judged."""
        notice = None if text is None else self.recognise(text)
        if text is None or notice is None:
            return (user_id, device_id, stream_id, None, 0)
        # Without a copy for most of them.
        size = len(text) if text.isascii() else len(text.encode())
        return (user_id, device_id, stream_id, notice, size)

    def judge(self, rows: Iterable[Seen], staleness: Staleness) -> Iterator[Found]:
        """Tell which of the next rows of the walk have a notice, and which may go."""
        mailbox = self._mailbox
        for user_id, device_id, stream_id, notice, size in rows:
            if mailbox is None or device_id != mailbox[1] or user_id != mailbox[0]:
                self._mailbox = mailbox = (user_id, device_id)
                self._walk = Backwards(stream_id, MOST_SLOTS)
            if notice is None:
                continue
            stale = staleness.applies_to(notice)
            # Whoever stored it: the sender was checked by no process of which is known.
            newer_id = self._walk.judge(Row(stream_id, notice, False, stale))
            redundant = None
            if newer_id is not None:
                redundant = Superseded(mailbox, stream_id, newer_id)
            yield Found(notice.rule.name, redundant, size)
