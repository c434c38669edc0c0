"""Delete every notice in any mailbox that adds nothing, and nothing else.

The sweep walks the mailboxes against the order of their index, a batch of rows at a
time. Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import attrs

from synapse_withheld.config import Config
from synapse_withheld.database.backlog import Place
from synapse_withheld.database.database import Database
from synapse_withheld.database.sql import ABOVE_ALL
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.redundant import Staleness, askers_of
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.covering import Covering, Found, Seen

# So few rows are read in milliseconds, and so many that a round trip is no loss.
BATCH_SIZE = 1000

# Rows of a batch are in memory at once, each of up to 64 kB.
MOST_BATCH_SIZE = 10_000

# How long to rest after each batch, in seconds: several times as long as one takes,
# so that the database is for others most of the time.
PAUSE_S = 0.1


@attrs.frozen
class Options:
    """How to sweep.

    Attributes:
        batch_size: How many rows are looked at in one step.
        now_ts: What no client heeds any more at this time goes, if anything newer is
            in its mailbox.
    """

    batch_size: int = BATCH_SIZE
    rules: Ruleset = attrs.field(factory=lambda: Ruleset.of(Config()))
    dry_run: bool = False
    now_ts: int = 0


@attrs.frozen
class Counts:
    """What a sweep found and did.

    Attributes:
        notices: Rows that are notices.
        redundant: How many of those may go.
        left_alone: How many of these are of devices that are being deleted.
        bytes: Those of the deleted rows; in a dry run, of those that would have been.
    """

    notices: int = 0
    redundant: int = 0
    left_alone: int = 0
    deleted: int = 0
    bytes: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(sum, zip(attrs.astuple(self), attrs.astuple(other))))


@attrs.frozen
class Progress:
    """What a sweep has done: since it began, or in one step.

    Attributes:
        rules: What it found and did, by the rules of whose messages there were any.
        mailbox: The mailbox that it is in: where to take it up again.
    """

    rows: int = 0
    rules: Mapping[str, Counts] = attrs.field(factory=dict)
    mailbox: MailboxKey | None = None
    done: bool = False

    @property
    def total(self) -> Counts:
        return sum(self.rules.values(), Counts())

    def with_more(self, more: Progress) -> Progress:
        rules = {
            rule: self.rules.get(rule, Counts()) + more.rules.get(rule, Counts())
            for rule in sorted({*self.rules, *more.rules})
        }
        return Progress(self.rows + more.rows, rules, more.mailbox, more.done)


class Sweep:
    """One walk over all mailboxes, a batch at a time.

    Attributes:
        progress: What it has done since it began.
        latest: What its last step did.
        before: The place that the last row was at; `None` before the first.
        covering: What tells notices, and which are redundant.
    """

    def __init__(
        self, database: Database, options: Options, start: MailboxKey | None = None
    ) -> None:
        """Begin at the end of the index, or with the mailbox of an earlier sweep.

        That is walked from its newest row again: what was seen is not known any more.
        """
        self._database = database
        self._options = options
        self.progress = self.latest = Progress(mailbox=start)
        self._begin_mailbox()

    def _begin_mailbox(self) -> None:
        start = self.progress.mailbox
        self.before: Place | None = start and (*start, ABOVE_ALL)
        self.covering = Covering(self._options.rules.telling_later())

    @property
    def rules(self) -> list[str]:
        return [rule.name for rule in self._options.rules.rules]

    async def step(self) -> Progress:
        up_to = await self._database.settled()
        # One more than are looked at, to know what comes after them.
        limit = self._options.batch_size + 1
        read = await self._database.read(self.before, limit)
        return await self.look_at([self.covering.seen(*row) for row in read], up_to)

    async def look_at(self, read: list[Seen], up_to: int) -> Progress:
        """Delete what is redundant in the rows of one step, one more than it looks at.

        Every reader saw the position `up_to` before they were read. After an error the
        next step begins again with the mailbox that this was in.
        """
        limit = self._options.batch_size
        rows = up_to_a_new_place(read, limit)
        try:
            counts = await self._clear([row for row in rows if row[2] <= up_to])
        except Exception:
            self._begin_mailbox()
            raise
        if rows:
            self.before = rows[-1][:3]
        mailbox = rows[-1][:2] if rows else self.progress.mailbox
        self.latest = Progress(len(rows), counts, mailbox, done=len(read) <= limit)
        self.progress = self.progress.with_more(self.latest)
        return self.progress

    async def _clear(self, seen: list[Seen]) -> dict[str, Counts]:
        """Delete what is redundant; return what was found and done, by rule."""
        rows = _without_doubles(seen)
        askers = askers_of(row[3] for row in rows if row[3] is not None)
        staleness = Staleness(self._options.now_ts, await self._database.gone(askers))
        by_rule: dict[str, list[Found]] = {}
        mailboxes = set()
        for each in self.covering.judge(rows, staleness):
            by_rule.setdefault(each.rule, []).append(each)
            if each.redundant is not None:
                mailboxes.add(each.redundant.mailbox)
        doomed = await self._database.doomed(mailboxes)
        return {
            rule: await self._delete_of_rule(rows, doomed)
            for rule, rows in by_rule.items()
        }

    async def _delete_of_rule(
        self, found: Sequence[Found], doomed: set[MailboxKey]
    ) -> Counts:
        redundant = [
            (each.redundant, each.size) for each in found if each.redundant is not None
        ]
        free = [each for each in redundant if each[0].mailbox not in doomed]
        size = sum(size for _, size in free)
        deleted = 0
        if free and not self._options.dry_run:
            deleted = await self._database.delete([row for row, _ in free])
            # Some may have been acknowledged meanwhile; nobody tells which.
            size = size * deleted // len(free)
        return Counts(
            notices=len(found),
            redundant=len(redundant),
            left_alone=len(redundant) - len(free),
            deleted=deleted,
            bytes=size,
        )


def up_to_a_new_place(rows: list[Any], limit: int, width: int = 3) -> list[Any]:
    """Return the rows of one step, where one more than the limit were read.

    Those at the last place are left for the next, so that no place is divided. A place
    is the first columns, as many as `width`.
    """
    if len(rows) <= limit:
        return rows
    last, end = rows[-1][:width], limit
    while end and rows[end - 1][:width] == last:
        end -= 1
    # Where all are at one place, the next step leaves it behind.
    return rows[:end] or rows


def _without_doubles(rows: list[Seen]) -> list[Seen]:
    """Return rows; those that share a place with another lose their notice.

    Nothing makes places unique. Deleting by such a place would delete both rows.
    """
    doubled = {
        row[:3]
        for row, after in zip(rows, rows[1:])
        if row[2] == after[2] and row[:3] == after[:3]
    }
    if not doubled:
        return rows
    return [(*row[:3], None, 0) if row[:3] in doubled else row for row in rows]
