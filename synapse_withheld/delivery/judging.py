"""Decide about the notices of a batch: look up what the rule needs, then apply it."""

from __future__ import annotations

from typing import Callable, Iterable, Tuple

import attrs

from synapse_withheld.database.queues import Queue
from synapse_withheld.delivery.batch import WILDCARD, Candidate
from synapse_withheld.delivery.reading import Reader, Rows
from synapse_withheld.memory.index import Index
from synapse_withheld.memory.storing import Occupant
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.deciding import decide
from synapse_withheld.rules.decision import COLLAPSE, Decision
from synapse_withheld.rules.mailbox import MailboxKey, Remembered, RowState

# How many remembered rows a request may have looked up to make room for its own.
MOST_LOOKED_UP_FOR_ROOM = 100


@attrs.frozen
class Verdict:
    """What was decided about a notice for one mailbox."""

    candidate: Candidate
    mailbox: MailboxKey
    decision: Decision

    @property
    def is_blind(self) -> bool:
        """Say whether it is for devices that nobody looked up."""
        return self.candidate.lone_wildcard and self.mailbox[1] == WILDCARD


# What a row would have to be for a duplicate to collapse.
_AS_IF_QUEUED = RowState(queued=True)

Target = Tuple[Candidate, MailboxKey]


@attrs.define
class Judge:
    """The rule, with what it needs to know.

    Attributes:
        queue: Which queue the notices are for.
        reader_never_acknowledges: Says whether the reader of a user's mailboxes never
            acknowledges, without a statement.
        seconds: A clock that never goes back, in seconds.
        hold_s: How long a delivered notice stands for later ones, in seconds;
            `None` for not at all.
    """

    queue: Queue
    index: Index
    reader: Reader
    reader_never_acknowledges: Callable[[str], bool]
    seconds: Callable[[], float]
    hold_s: float | None

    async def collapse_at_once(
        self, candidates: list[Candidate]
    ) -> list[Verdict] | None:
        """Decide about a batch that is nothing but duplicates, as most are.

        Nothing of it will be stored, so it needs no lock: any number of them can be
        looked up side by side.

        Returns:
            The verdicts, or `None` if something of the batch is to be stored.

        Raises:
            StatementError: A statement failed or took too long.
        """
        targets = [(each, (each.user_id, each.device_id)) for each in candidates]
        rows = []
        for candidate, mailbox in targets:
            queued = self.index.queued(mailbox, candidate.notice)
            if queued is None or candidate.lone_wildcard:
                return None
            if decide(candidate.notice, queued, _AS_IF_QUEUED) != decisions.DUPLICATE:
                return None
            rows.append((mailbox, queued.stream_id))
        verdicts = self._verdicts(targets, await self.reader.queued(rows))
        needed = any(each.decision.action != COLLAPSE for each in verdicts)
        return None if needed else verdicts

    async def judge(self, candidates: list[Candidate]) -> list[Verdict]:
        """Decide about each notice of a batch, for each of its mailboxes.

        Raises:
            StatementError: A statement failed or took too long.
            PatienceEndedError: A first reading took too long.
        """
        devices = await self.reader.devices(
            {each.user_id for each in candidates if each.lone_wildcard}
        )
        targets = [
            (candidate, mailbox)
            for candidate in candidates
            for mailbox in candidate.mailboxes(devices)
        ]
        fresh = await self.reader.learn([mailbox for _, mailbox in targets])
        looked_up = {
            (mailbox, queued.stream_id)
            for candidate, mailbox in targets
            if mailbox not in fresh
            and (queued := self.index.queued(mailbox, candidate.notice))
        }
        crowd = self._crowd(targets)
        rows = await self.reader.queued(
            looked_up | {(each.mailbox, each.stream_id) for each in crowd}
        )
        # Nothing awaits from here until the batch is handed on: what the index
        # says now is what the decisions rest on.
        self._make_room(crowd, rows)
        verdicts = self._verdicts(targets, rows)
        for verdict in verdicts:
            if verdict.decision == decisions.NOT_QUEUED:
                self.index.drop(verdict.mailbox, verdict.candidate.notice)
        return verdicts

    def _verdicts(self, targets: Iterable[Target], rows: Rows) -> list[Verdict]:
        return [
            Verdict(candidate, mailbox, self._decide(candidate, mailbox, rows))
            for candidate, mailbox in targets
        ]

    def _crowd(self, targets: Iterable[Target]) -> list[Occupant]:
        """Return what keeps new pairs from being remembered, and may have been read."""
        crowd: list[Occupant] = []
        for candidate, mailbox in targets:
            if self.index.knows(mailbox):
                more = MOST_LOOKED_UP_FOR_ROOM - len(crowd)
                crowd += self.index.in_the_way_of(mailbox, candidate.notice, more)
        return crowd

    def _make_room(self, crowd: Iterable[Occupant], rows: Rows) -> None:
        for occupant in crowd:
            row = rows.get((occupant.mailbox, occupant.stream_id))
            if row is None or not row.queued:
                self.index.drop_occupant(occupant)

    def _decide(
        self,
        candidate: Candidate,
        mailbox: MailboxKey,
        rows: Rows,
    ) -> Decision:
        notice = candidate.notice
        if not self.index.knows(mailbox):
            return self.queue.unknown
        earlier = self.index.queued(mailbox, notice)
        if earlier is None:
            has_room = self.index.has_room(mailbox, notice)
            return decisions.FIRST if has_room else decisions.NO_ROOM
        if (mailbox, earlier.stream_id) not in rows:
            # Found by a first reading just now, or stored by a batch that did not
            # wait its turn.
            if notice.rule.about_keys:
                return decisions.UNWATCHED
            return decide(notice, earlier, _AS_IF_QUEUED)
        row = rows[mailbox, earlier.stream_id]
        if self.hold_s is not None and row is not None and row.queued:
            self.index.note_undelivered(mailbox, notice, rows.asked_s)
        decided = decide(notice, earlier, row, held=self._holds(earlier))
        if decided.action == COLLAPSE and self.reader_never_acknowledges(mailbox[0]):
            is_queued = decided == decisions.DUPLICATE
            return decisions.NEVER_ACKNOWLEDGED if is_queued else decisions.NOT_QUEUED
        return decided

    def _holds(self, earlier: Remembered) -> bool:
        """Say whether a notice, if it was delivered, was so within the hold."""
        if self.hold_s is None:
            return False
        return self.seconds() - earlier.undelivered_s <= self.hold_s
