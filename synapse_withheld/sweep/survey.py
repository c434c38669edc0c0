"""Look at both queues and change nothing: what is there, and what each rule would do.

What a rule would remove is told by the sweep itself, on a dry run with all rules.
Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

import attrs

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.survey import (
    WHOLE,
    OutboxPlace,
    SurveyDatabase,
    withheld_survey_inbox,
    withheld_survey_outbox,
)
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.inventory import Inventory, Sums
from synapse_withheld.sweep.kinds import kind_of, kind_shown
from synapse_withheld.sweep.walk import Options, Progress, Sweep, up_to_a_new_place

ALL_RULES = RulesConfig(**{each.name: True for each in attrs.fields(RulesConfig)})
# What these name.
NAMED = Ruleset.of(Config(rules=ALL_RULES)).types


@attrs.define
class Orphans:
    """Rows that nobody can read, and how many mailboxes they are in."""

    mailboxes: int = 0
    sums: Sums = attrs.Factory(Sums)

    def add(self, mailboxes: int, sums: Sums) -> None:
        self.mailboxes += mailboxes
        self.sums.add(sums.rows, sums.bytes)


@attrs.define
class Surveyed:
    """What was found, in all or in one part.

    Attributes:
        gone: What waits for devices that do not exist.
        hidden: What waits for devices that are hidden.
        swept: What a sweep with all rules would do.
    """

    inbox: Inventory
    outbox: Inventory
    gone: Orphans = attrs.Factory(Orphans)
    hidden: Orphans = attrs.Factory(Orphans)
    swept: Progress = attrs.Factory(Progress)
    done: bool = False

    def follow(self, other: Surveyed) -> None:
        """Add what was found in the part after this one; both have ended."""
        self.inbox.follow(other.inbox)
        self.outbox.follow(other.outbox)
        self.gone.add(other.gone.mailboxes, other.gone.sums)
        self.hidden.add(other.hidden.mailboxes, other.hidden.sums)
        self.swept = self.swept.with_more(other.swept)
        self.done = self.done and other.done


class Survey:
    """One walk over mailboxes and outboxes, a batch at a time."""

    def __init__(
        self,
        database: SurveyDatabase,
        options: Options,
        limit: int,
        *,
        below: str | None = None,
        down_to: str = "",
    ) -> None:
        """Begin at the end of the index of mailboxes.

        Args:
            database: Where the rows are.
            options: How the sweep would go about it: all rules, and a dry run.
            limit: How many of the longest are told.
            below: Look only at mailboxes of users below this one, and at outboxes.
            down_to: Look only at mailboxes of this user and those above.
        """
        self._database = database
        self._batch_size = options.batch_size
        self._sweep = Sweep(database, options)
        if below is not None:
            # No mailbox of that user has a place before this one.
            self._sweep.before = (below, "", -1)
        self._down_to = down_to
        self._before: OutboxPlace | None = None
        self._orphaned: MailboxKey | None = None
        self._in_outboxes = 0
        self.found = Surveyed(Inventory(limit), Inventory(limit))

    @property
    def rows(self) -> int:
        return self.found.swept.rows + self._in_outboxes

    async def step(self) -> None:
        await (self._outbox_step() if self.found.swept.done else self._inbox_step())

    def end(self) -> Surveyed:
        self.found.inbox.end()
        self.found.outbox.end()
        return self.found

    async def _inbox_step(self) -> None:
        up_to = await self._database.settled()
        asked = (self._sweep.before, self._batch_size + 1, self._down_to)
        read = await self._database.walk(withheld_survey_inbox, *asked)
        kinds, seen = [], []
        for user_id, device_id, stream_id, text, size in read:
            kind, notice, whole = kind_shown(text), None, size <= WHOLE
            # What is too long for a notice, or of another type, is not looked into.
            if kind is None or kind.type in NAMED:
                notice = self._sweep.covering.recognise(text) if whole else None
                kind = kind_of(text, kind, notice, whole=whole)
            kinds.append(kind)
            seen.append((user_id, device_id, stream_id, notice, size))
        self.found.swept = await self._sweep.look_at(seen, up_to)
        rows = read[: self._sweep.latest.rows]
        names = [row[:2] for row in rows]
        owners = await self._database.owners(set(names))
        for name, row in zip(names, rows):
            hidden = owners.get(name)
            if hidden is not False:
                self._count_orphan(name, row[4], hidden=bool(hidden))
        self.found.inbox.add(zip(names, kinds, [row[4] for row in rows]))
        # The part below has the outboxes.
        self.found.done = bool(self._down_to) and self.found.swept.done

    async def _outbox_step(self) -> None:
        asked = (self._before, self._batch_size + 1)
        read = await self._database.walk(withheld_survey_outbox, *asked)
        rows = up_to_a_new_place(read, self._batch_size, 2)
        self.found.outbox.add(
            ((server,), kind_of(text, kind_shown(text), whole=size <= WHOLE), size)
            for server, _, text, size in rows
        )
        self._in_outboxes += len(rows)
        if rows:
            self._before = rows[-1][:2]
        self.found.done = len(read) <= self._batch_size

    def _count_orphan(self, mailbox: MailboxKey, size: int, *, hidden: bool) -> None:
        orphans = self.found.hidden if hidden else self.found.gone
        orphans.add(mailbox != self._orphaned, Sums(1, size))
        self._orphaned = mailbox
