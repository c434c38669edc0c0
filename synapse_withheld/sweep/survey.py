"""Look at both queues and change nothing: what is there, and what each rule would do.

What a rule would remove is told by the sweep itself, on a dry run with all rules.
Nothing here knows of Synapse or SQL.
"""

from __future__ import annotations

from typing import Any, Iterable, Protocol, Sequence

import attrs

from synapse_withheld.config import RulesConfig
from synapse_withheld.database.survey import (
    WHOLE,
    InboxRow,
    OutboxPlace,
    OutboxRow,
)
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.sweep.kinds import kind_of
from synapse_withheld.sweep.tally import Sums, Tally
from synapse_withheld.sweep.walk import (
    Options,
    Progress,
    Rows,
    Sweep,
    up_to_a_new_place,
)

ALL_RULES = RulesConfig(**{each.name: True for each in attrs.fields(RulesConfig)})


class SurveyRows(Rows, Protocol):
    """What the survey asks of the database.

    Attributes:
        inbox_rows: What was read last for the sweep, with what only this needs.
    """

    inbox_rows: list[InboxRow]

    async def read_outbox(
        self, before: OutboxPlace | None, limit: int
    ) -> list[OutboxRow]:
        """Read rows of outboxes against the order of the index."""

    async def owners(self, mailboxes: Iterable[MailboxKey]) -> dict[MailboxKey, bool]:
        """Tell which devices exist, and of each whether it is hidden."""


@attrs.define
class Unread:
    """Rows that nobody can read.

    Attributes:
        mailboxes: How many mailboxes they are in.
        sums: The rows and bytes.
    """

    mailboxes: int = 0
    sums: Sums = attrs.Factory(Sums)


class Survey:
    """One walk over mailboxes and outboxes, a batch at a time.

    Attributes:
        inbox: What there is in mailboxes.
        outbox: What there is in outboxes.
        gone: What waits for devices that do not exist.
        hidden: What waits for devices that are hidden.
        done: Whether it is over.
    """

    def __init__(self, rows: SurveyRows, options: Options, limit: int) -> None:
        """Begin at the end of the index of mailboxes.

        Args:
            rows: The database.
            options: How the sweep would go about it: all rules, and a dry run.
            limit: How many of the longest are told.
        """
        self._rows = rows
        self._batch_size = options.batch_size
        self._sweep = Sweep(rows, options)
        self._before: OutboxPlace | None = None
        self._owners: dict[MailboxKey, bool] = {}
        self._last: MailboxKey | None = None
        self._in_outboxes = 0
        self.inbox, self.outbox = Tally(limit, self._count_unread), Tally(limit)
        self.gone, self.hidden = Unread(), Unread()
        self.done = False

    @property
    def swept(self) -> Progress:
        """Return what a sweep with all rules would do."""
        return self._sweep.progress

    @property
    def rows(self) -> int:
        """Return how many rows were looked at."""
        return self.swept.rows + self._in_outboxes

    async def step(self) -> None:
        """Look at one batch of rows."""
        if self.swept.done:
            await self._outbox_step()
        else:
            await self._inbox_step()

    def end(self) -> None:
        """Count what there is of the last names, whether all was looked at or not."""
        self.inbox.end()
        self.outbox.end()

    async def _inbox_step(self) -> None:
        before = self.swept.rows
        progress = await self._sweep.step()
        rows = self._rows.inbox_rows[: progress.rows - before]
        await self._look_up(rows)
        known = self._sweep.known
        self.inbox.add(
            ((user_id, device_id), kind_of(text, known, whole=size <= WHOLE), size)
            for user_id, device_id, _, text, size in rows
        )

    async def _outbox_step(self) -> None:
        read = await self._rows.read_outbox(self._before, self._batch_size + 1)
        rows = up_to_a_new_place(read, self._batch_size, 2)
        self.outbox.add(
            ((server,), kind_of(text, whole=size <= WHOLE), size)
            for server, _, text, size in rows
        )
        self._in_outboxes += len(rows)
        if rows:
            self._before = rows[-1][:2]
        self.done = len(read) <= self._batch_size

    async def _look_up(self, rows: Sequence[InboxRow]) -> None:
        """Ask whose mailboxes these are, each once."""
        last = self._last
        known = {last: self._owners[last]} if last in self._owners else {}
        new = {row[:2] for row in rows} - {last}
        self._owners = {**known, **await self._rows.owners(new)}
        if rows:
            # The next batch may go on with it.
            self._last = rows[-1][:2]

    def _count_unread(self, name: Any, sums: Sums) -> None:
        hidden = self._owners.get(name)
        if hidden is not False:
            unread = self.gone if hidden is None else self.hidden
            unread.mailboxes += 1
            unread.sums.add(sums.rows, sums.bytes)
