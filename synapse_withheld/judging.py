"""Decide about the notices of a batch: look up what the rule needs, then apply it."""

from __future__ import annotations

from typing import Dict, Iterable, Optional, Protocol, Tuple

import attrs

from synapse_withheld import decision as decisions
from synapse_withheld.batch import WILDCARD, Candidate
from synapse_withheld.decision import COLLAPSE, Decision, decide
from synapse_withheld.index import Index
from synapse_withheld.reading import Reader
from synapse_withheld.statements import QueuedRow
from synapse_withheld.watch import MailboxKey, Watch

# How many remembered rows a request may have looked up to make room for its own.
MOST_LOOKED_UP_FOR_ROOM = 100


class Homeserver(Protocol):
    """What the collapser asks the homeserver, none of it with a statement."""

    def device_list_id(self) -> int:
        """Return the position of the device list stream."""

    def keeps_messages(self, user_id: str) -> bool:
        """Say whether the reader of a user's mailboxes never acknowledges."""


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
_AS_IF_QUEUED = QueuedRow(device_list_id=0, kept_by_reader=False)

Target = Tuple[Candidate, MailboxKey]

# By mailbox and stream ID; `None` for a row that is not queued.
Rows = Dict[Tuple[MailboxKey, int], Optional[QueuedRow]]


@attrs.define
class Judge:
    """The rule, with what it needs to know."""

    index: Index
    reader: Reader
    homeserver: Homeserver

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
            queued = self.index.queued(mailbox, candidate.notice.pair)
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
            mailbox: watch
            for candidate, mailbox in targets
            if mailbox not in fresh
            and (watch := self.index.queued(mailbox, candidate.notice.pair))
        }
        crowd = self._crowd(targets)
        rows = await self.reader.queued(
            {(each.mailbox, each.stream_id) for each in (*looked_up.values(), *crowd)}
        )
        # Nothing awaits from here until the batch is handed on: what the index
        # says now is what the decisions rest on.
        self._make_room(crowd, rows)
        verdicts = self._verdicts(targets, rows)
        for verdict in verdicts:
            if verdict.decision == decisions.NOT_QUEUED:
                self.index.drop(verdict.mailbox, verdict.candidate.notice.pair)
        return verdicts

    def _verdicts(self, targets: Iterable[Target], rows: Rows) -> list[Verdict]:
        return [
            Verdict(candidate, mailbox, self._decide(candidate, mailbox, rows))
            for candidate, mailbox in targets
        ]

    def _crowd(self, targets: Iterable[Target]) -> list[Watch]:
        """Return what keeps new pairs from being remembered, and may have been read."""
        crowd: list[Watch] = []
        for candidate, mailbox in targets:
            if self.index.knows(mailbox):
                pair = candidate.notice.pair
                more = MOST_LOOKED_UP_FOR_ROOM - len(crowd)
                crowd += self.index.in_the_way_of(mailbox, pair)[:more]
        return crowd

    def _make_room(self, crowd: Iterable[Watch], rows: Rows) -> None:
        for watch in crowd:
            pair = watch.notice.pair
            queued = rows.get((watch.mailbox, watch.stream_id))
            if queued is None and self.index.queued(watch.mailbox, pair) is watch:
                self.index.drop(watch.mailbox, pair)

    def _decide(
        self,
        candidate: Candidate,
        mailbox: MailboxKey,
        rows: Rows,
    ) -> Decision:
        notice = candidate.notice
        if not self.index.knows(mailbox):
            return decisions.UNKNOWN_DEVICE
        queued = self.index.queued(mailbox, notice.pair)
        if queued is None:
            has_room = self.index.has_room(mailbox, notice.pair)
            return decisions.FIRST if has_room else decisions.NO_ROOM
        row = (mailbox, queued.stream_id)
        if row not in rows:
            # Found by a first reading just now, or stored by a batch that did not
            # wait its turn.
            return decisions.UNWATCHED
        decided = decide(notice, queued, rows[row])
        if decided.action == COLLAPSE and self.homeserver.keeps_messages(mailbox[0]):
            return decisions.NEVER_ACKNOWLEDGED
        return decided
