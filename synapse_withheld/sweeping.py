"""Delete every notice that a later one in its mailbox covers, and nothing else.

The sweep walks the mailboxes against the order of their index, each from its newest
row on: what covers a row is known before the row is looked at, and all that has to
be remembered are the pairs of one mailbox. Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Iterable, List, Optional, Protocol, Sequence, Tuple

import attrs

from synapse_withheld.config import Config
from synapse_withheld.notice import Notice, Pair
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.statements import MOST_OF_ROW, decode
from synapse_withheld.sweep_statements import NEWEST_OF_MAILBOX, BacklogRow, Place
from synapse_withheld.watch import MailboxKey, Superseded

# How many pairs of one mailbox are remembered. Rows of others stay.
MOST_PAIRS = 20_000

# How many texts of one mailbox are remembered: many copies are the same.
MOST_TEXTS = 1_000

# The rule, the pair, and its key where that counts.
_PairKey = Tuple[str, Pair, Optional[str]]

# Mailbox, stream ID, that of a later row which covers it, and the bytes of its text.
Covered = Tuple[MailboxKey, int, int, int]


class Rows(Protocol):
    """What the sweep asks of the database."""

    async def settled(self) -> int:
        """Return a position up to which every reader sees the stream."""

    async def read(self, before: Place | None, limit: int) -> list[BacklogRow]:
        """Read rows against the order of the index."""

    async def doomed(self, mailboxes: Iterable[MailboxKey]) -> set[MailboxKey]:
        """Tell which mailboxes a deletion of their device is about to empty."""

    async def delete(self, superseded: Sequence[Superseded]) -> int:
        """Delete rows whose newer row is in the mailbox; return how many."""


@attrs.frozen
class Options:
    """How to sweep.

    Attributes:
        batch_size: How many rows are looked at in one step.
        rules: What is a notice, and which covers which.
        spoofs_possible: Whether rows may name a sender who did not send them; then
            only a notice with an equal key covers another, where a rule is about keys.
        dry_run: Whether to delete nothing.
        now_ts: What the time is when it begins, in milliseconds since 1970: what no
            client heeds any more by then goes, if anything newer is in its mailbox.
    """

    batch_size: int = 1000
    rules: Ruleset = attrs.field(factory=lambda: Ruleset.of(Config()))
    spoofs_possible: bool = False
    dry_run: bool = False
    now_ts: int = 0


@attrs.frozen
class Progress:
    """What a sweep has done since it began.

    Attributes:
        rows: Rows looked at.
        notices: How many of them are notices.
        covered: How many of those a later one covers, or no client heeds any more.
        left_alone: How many of these are of devices that are being deleted.
        deleted: How many rows were deleted.
        bytes: How many bytes of message JSON those had; in a dry run, would have.
        mailbox: The mailbox that it is in: where to take it up again.
        done: Whether it is over.
    """

    rows: int = 0
    notices: int = 0
    covered: int = 0
    left_alone: int = 0
    deleted: int = 0
    bytes: int = 0
    mailbox: MailboxKey | None = None
    done: bool = False


@attrs.frozen
class _Seen:
    """The last notice of a pair that no later one covers."""

    stream_id: int
    variant: int
    key: str


@attrs.define
class _Mailbox:
    """The pairs seen in a mailbox so far, going back in its stream.

    Attributes:
        newest_id: The newest row, whatever it is.
        covers: The later row that covers what has the same text.
    """

    key: MailboxKey | None = None
    newest_id: int = 0
    pairs: dict[_PairKey, _Seen] = attrs.Factory(dict)
    covers: dict[str, int] = attrs.Factory(dict)

    def cover(self, stream_id: int, pair: _PairKey, notice: Notice) -> int | None:
        """Return which later row covers a notice; remember it where none does."""
        later = self.pairs.get(pair)
        if later is not None and notice.rule.covers(
            notice.variant, later.variant, same_key=notice.key == later.key
        ):
            return later.stream_id
        if later is not None or len(self.pairs) < MOST_PAIRS:
            self.pairs[pair] = _Seen(stream_id, notice.variant, notice.key)
        return None


class Sweep:
    """One walk over all mailboxes, a batch at a time."""

    def __init__(
        self, rows: Rows, options: Options, start: MailboxKey | None = None
    ) -> None:
        """Begin at the end of the index, or where an earlier sweep was.

        Args:
            rows: The database.
            options: How to sweep.
            start: The mailbox that the earlier one was in. It is walked from its
                newest row again: what was seen there is not known any more.
        """
        self._rows = rows
        self._options = options
        self._before = None if start is None else (*start, NEWEST_OF_MAILBOX)
        self._mailbox = _Mailbox()
        self.progress = Progress(mailbox=start)

    async def step(self) -> Progress:
        """Look at one batch of rows, and delete what is covered.

        After an error the next step begins again with the mailbox that this was in.
        """
        try:
            return await self._step()
        except Exception:
            if self.progress.mailbox is not None:
                self._before = (*self.progress.mailbox, NEWEST_OF_MAILBOX)
            self._mailbox = _Mailbox()
            raise

    async def _step(self) -> Progress:
        up_to = await self._rows.settled()
        rows = await self._rows.read(self._before, self._options.batch_size)
        notices, covered = self._judge(rows, up_to)
        doomed: set[MailboxKey] = set()
        if covered:
            doomed = await self._rows.doomed({each[0] for each in covered})
        free = [each for each in covered if each[0] not in doomed]
        deleted, size = await self._delete(free)
        if rows:
            self._before = rows[-1][:3]
        so_far = self.progress
        self.progress = Progress(
            rows=so_far.rows + len(rows),
            notices=so_far.notices + notices,
            covered=so_far.covered + len(covered),
            left_alone=so_far.left_alone + len(covered) - len(free),
            deleted=so_far.deleted + deleted,
            bytes=so_far.bytes + size,
            mailbox=rows[-1][:2] if rows else so_far.mailbox,
            done=len(rows) < self._options.batch_size,
        )
        return self.progress

    def _judge(
        self, rows: Iterable[BacklogRow], up_to: int
    ) -> tuple[int, List[Covered]]:
        """Return how many rows are notices, and which of them are covered."""
        notices = 0
        covered: List[Covered] = []
        mailbox = self._mailbox
        marks = self._options.rules.marks
        for user_id, device_id, stream_id, text in rows:
            if stream_id > up_to:
                continue
            key = (user_id, device_id)
            if mailbox.key != key:
                mailbox = self._mailbox = _Mailbox(key, stream_id)
            # In most rows it is another type of message.
            if text is None or not any(map(text.__contains__, marks)):
                continue
            newer_id = mailbox.covers.get(text)
            if newer_id is None:
                notice = self._recognise(text)
                if notice is None:
                    continue
                newer_id = self._cover(mailbox, stream_id, notice, text)
            notices += 1
            if newer_id is not None:
                covered.append((key, stream_id, newer_id, _size(text)))
        return notices, covered

    def _cover(
        self, mailbox: _Mailbox, stream_id: int, notice: Notice, text: str
    ) -> int | None:
        """Return which later row covers a notice, and remember it for equal texts."""
        if notice.has_expired(self._options.now_ts):
            return mailbox.newest_id if mailbox.newest_id > stream_id else None
        rule = notice.rule
        doubtful = rule.about_keys and self._options.spoofs_possible
        pair = (rule.name, notice.pair, notice.key if doubtful else None)
        newer_id = mailbox.cover(stream_id, pair, notice)
        if pair in mailbox.pairs and len(mailbox.covers) < MOST_TEXTS:
            mailbox.covers[text] = stream_id if newer_id is None else newer_id
        return newer_id

    async def _delete(self, covered: Sequence[Covered]) -> tuple[int, int]:
        """Delete rows; return how many there were, and their bytes."""
        size = sum(each for *_, each in covered)
        if self._options.dry_run:
            return 0, size
        if not covered:
            return 0, 0
        rows = [Superseded(key, old_id, new_id) for key, old_id, new_id, _ in covered]
        deleted = await self._rows.delete(rows)
        # Some may have been acknowledged meanwhile; nobody tells which.
        return deleted, size * deleted // len(covered)

    def _recognise(self, text: str) -> Notice | None:
        message = decode(text) if len(text) <= MOST_OF_ROW else None
        if message is None:
            return None
        return self._options.rules.recognise(message)


def _size(text: str) -> int:
    # Without a copy for most of them.
    return len(text) if text.isascii() else len(text.encode())
