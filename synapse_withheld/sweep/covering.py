"""Which rows of mailboxes add nothing, told while they are read from their newest on.

What covers a row is known before the row is looked at, and all that has to be
remembered are the pairs of one mailbox. Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple

import attrs

from synapse_withheld.database.backlog import BacklogRow
from synapse_withheld.database.sql import MOST_OF_ROW, decode
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.staleness import Staleness

# How many pairs of one mailbox are remembered. Rows of others stay.
MOST_PAIRS = 20_000

# How many texts of one mailbox are remembered: many copies are the same.
MOST_TEXTS = 1_000

# The rule, the pair, and its key where that counts.
_PairKey = Tuple[str, Pair, Optional[str]]

# What each of some rows holds.
Told = List[Optional[Notice]]


class Found(NamedTuple):
    """A row with a notice.

    Attributes:
        rule: The rule's name.
        redundant: The row and what makes it redundant; `None` if it is needed.
        size: The bytes of its text.
        again: Whether it was found before, and turned out to be redundant since.
    """

    rule: str
    redundant: Superseded | None
    size: int
    again: bool = False


class _Seen(NamedTuple):
    """The last notice of a pair that no later one covers."""

    stream_id: int
    notice: Notice
    size: int


@attrs.define
class _Mailbox:
    """The pairs seen in a mailbox so far, going back in its stream.

    Attributes:
        newest_id: The newest row, whatever it is.
        covers: The later row that covers what has the same text.
    """

    key: MailboxKey
    newest_id: int
    pairs: dict[_PairKey, _Seen] = attrs.Factory(dict)
    covers: dict[str, int] = attrs.Factory(dict)

    def cover(
        self, pair: _PairKey, stream_id: int, notice: Notice, text: str
    ) -> int | None:
        """Return which later row covers a notice; remember it where none does."""
        later = self.pairs.get(pair)
        if later is not None and notice.rule.covers(
            notice.variant,
            later.notice.variant,
            same_key=notice.key == later.notice.key,
        ):
            return later.stream_id
        if later is not None or len(self.pairs) < MOST_PAIRS:
            self.pairs[pair] = _Seen(stream_id, notice, _size(text))
        return None

    def needs_no_more(self, stream_id: int) -> Superseded | None:
        """Return a row as redundant, if anything newer is here."""
        if self.newest_id <= stream_id:
            return None
        return Superseded(self.key, stream_id, self.newest_id)


@attrs.define
class Covering:
    """One walk over mailboxes, against the order of their index.

    Attributes:
        rules: What is a notice, and which covers which.
        spoofs_possible: Whether rows may name a sender who did not send them; then
            only a notice with an equal key covers another, where a rule is about keys.
    """

    rules: Ruleset
    spoofs_possible: bool
    _mailbox: _Mailbox = attrs.field(factory=lambda: _Mailbox(("", ""), 0), init=False)

    def read(self, rows: Iterable[BacklogRow]) -> Told:
        """Return what rows hold: a notice, or `None`."""
        told: Told = []
        known: dict[str, Notice | None] = {}
        marks = self.rules.marks
        for *_, text in rows:
            # In most rows it is another type of message.
            if text is None or not any(map(text.__contains__, marks)):
                told.append(None)
                continue
            if text not in known:
                message = decode(text) if len(text) <= MOST_OF_ROW else None
                known[text] = None if message is None else self.rules.recognise(message)
            told.append(known[text])
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
                self._mailbox = _Mailbox(key, stream_id)
            if notice is None or text is None:
                continue
            if staleness.applies_to(notice):
                yield from self._stale(stream_id, notice, text, staleness)
                continue
            newer_id = self._covered_by(stream_id, notice, text)
            row = None if newer_id is None else Superseded(key, stream_id, newer_id)
            yield Found(notice.rule.name, row, _size(text))

    def _covered_by(self, stream_id: int, notice: Notice, text: str) -> int | None:
        """Return which later row covers a notice, and remember it for equal texts."""
        mailbox = self._mailbox
        newer_id = mailbox.covers.get(text)
        if newer_id is not None:
            return newer_id
        pair = self._pair(notice)
        newer_id = mailbox.cover(pair, stream_id, notice, text)
        if pair in mailbox.pairs and len(mailbox.covers) < MOST_TEXTS:
            mailbox.covers[text] = stream_id if newer_id is None else newer_id
        return newer_id

    def _stale(
        self, stream_id: int, notice: Notice, text: str, staleness: Staleness
    ) -> Iterator[Found]:
        mailbox, rule, pair = self._mailbox, notice.rule.name, self._pair(notice)
        yield Found(rule, mailbox.needs_no_more(stream_id), _size(text))
        later = mailbox.pairs.get(pair)
        if later is not None and staleness.takes_along(notice, later.notice):
            del mailbox.pairs[pair]
            row = mailbox.needs_no_more(later.stream_id)
            if row is not None:
                yield Found(rule, row, later.size, again=True)

    def _pair(self, notice: Notice) -> _PairKey:
        doubtful = notice.rule.about_keys and self.spoofs_possible
        return (notice.rule.name, notice.pair, notice.key if doubtful else None)


def _size(text: str) -> int:
    # Without a copy for most of them.
    return len(text) if text.isascii() else len(text.encode())
