"""Ask the database whether believed duplicates may collapse, one statement at a time.

Whoever waits here waits for a second at most; everybody is let go as soon as the
database is slow or fails.
"""

from __future__ import annotations

from collections import defaultdict
from math import inf
from typing import Dict, List, Mapping, Tuple

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.delivery.batch import Candidate, decide, users_of
from synapse_withheld.delivery.confirming.waiting_room import Waiting, WaitingRoom
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.runtime import Call, Runtime
from synapse_withheld.delivery.shares import Shares
from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey, RowState

# How long a batch waits at most, in seconds from when it came.
MOST_WAIT_S = 1.0

# How long a statement may be out before everybody who waits is let go, in seconds.
PATIENCE_S = 0.5

# How long to rest after a failed statement, in seconds: doubled with each failure in a
# row. After a restart of PostgreSQL each pooled connection fails once.
REST_S = 1.0
MOST_REST_S = 10.0

# How many rows a statement asks about, and how many waiting notices are looked at to
# find them: many may wait for one row.
MOST_ROWS = 200
MOST_LOOKED_AT = 1000

# What a statement asks about, and for whom.
_Asked = Dict[Tuple[MailboxKey, int], List[Tuple[Waiting, Candidate, Record]]]


@attrs.define(eq=False)
class Confirmer:
    """All that waits for an answer, of both queues."""

    memories: Mapping[str, Memory]
    queues: Mapping[str, Queue]
    database: Database
    runtime: Runtime
    metrics: Metrics
    failures: Failures
    room: WaitingRoom = attrs.field(factory=WaitingRoom, init=False)
    is_overdue: bool = attrs.field(default=False, init=False)
    _queued: Dict[str, Shares[Waiting]] = attrs.field(
        factory=lambda: defaultdict(Shares), init=False
    )
    _last_asked: str = attrs.field(default="", init=False)
    _working: bool = attrs.field(default=False, init=False)
    _rest_until_s: float = attrs.field(default=0.0, init=False)
    _rest_s: float = attrs.field(default=REST_S, init=False)
    _timer: Call | None = attrs.field(default=None, init=False)

    @property
    def passes(self) -> Decision | None:
        """Return why nobody waits at the moment, if that is so."""
        if self.is_overdue:
            return decisions.OVERDUE
        if self.runtime.seconds() < self._rest_until_s:
            return decisions.RESTING
        return None

    def add(self, waiting: Waiting) -> None:
        """Let a batch wait; `passes` must be `None`."""
        self.room.enter(waiting)
        for queue in waiting.unanswered:
            self._queued[queue].add(waiting)
        if self._timer is None:
            self._set_timer(waiting.batch.came_s)
        if not self._working:
            self._working = True
            self.runtime.as_process("withheld_confirm", self._work)

    def release(self, waiting: list[Waiting]) -> None:
        """Let batches go that something of the same sender would overtake."""
        released = self.room.with_earlier(waiting)
        for each in released:
            # Some may have their answer, and are about to be let go.
            if not each.is_over:
                decide(each.doubtful, decisions.RELEASED)
                self.room.end(each)
        if released:
            self._let_go(up_to=released[-1].number)

    def release_before(self, waiting: Waiting) -> None:
        """Let batches go that came before one of which something is stored now."""
        batch = waiting.batch
        users = users_of(batch.local, batch.edus)
        # What could not enter the room has no number, and came last.
        self.release(self.room.of(batch.sender, users, waiting.number or inf))

    async def _work(self) -> None:
        """Ask until nobody waits; must not raise."""
        try:
            while (queue := self._next_queue()) is not None and self.passes is None:
                await self._ask(queue, self._gather(queue))
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("statement", error)
            self._let_everybody_go(decisions.FAILED)
        finally:
            self._working = False

    def _next_queue(self) -> str | None:
        """Return which queue is asked about: they take turns."""
        queues = [queue for queue, waiting in self._queued.items() if waiting]
        return min(queues, key=lambda queue: queue == self._last_asked, default=None)

    def _gather(self, queue: str) -> _Asked:
        """Choose the rows to ask about: those that are believed at this moment."""
        asked: _Asked = {}
        queued = self._queued[queue]
        looked_at = 0
        while queued and len(asked) < MOST_ROWS and looked_at < MOST_LOOKED_AT:
            waiting = queued.take()
            looked_at += 1
            if waiting.is_over:
                continue
            candidate = waiting.unanswered[queue].popleft()
            if waiting.unanswered[queue]:
                queued.add(waiting)
            record = self._believed(waiting, candidate)
            if record is not None:
                key = (candidate.mailbox, record.stream_id)
                asked.setdefault(key, []).append((waiting, candidate, record))
        return asked

    def _believed(self, waiting: Waiting, candidate: Candidate) -> Record | None:
        """Return the row that a notice is believed to be a duplicate of, by now.

        Where there is none any more, that is the answer.
        """
        if not waiting.is_stored:
            memory = self.memories[candidate.queue]
            now_s = self.runtime.seconds()
            candidate.decision, candidate.record = memory.believe(
                candidate.mailbox, candidate.notice, now_s
            )
        if candidate.record is None:
            self._answer(waiting, candidate)
        return candidate.record

    async def _ask(self, queue: str, asked: _Asked) -> None:
        self._let_go()
        if not asked:
            return
        self._last_asked = queue
        asked_s = self.runtime.seconds()
        timer = self.runtime.call_later(PATIENCE_S, self._be_overdue)
        try:
            states = await self.database.read_queued(self.queues[queue], asked)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("statement", error)
            self._rest(asked)
            return
        finally:
            self.is_overdue = False
            if timer.active():
                timer.cancel()
        self._rest_s = REST_S
        for key, some in asked.items():
            for waiting, candidate, record in some:
                if not waiting.is_over:
                    self._judge(waiting, candidate, record, states.get(key), asked_s)
        self._let_go()

    def _judge(
        self,
        waiting: Waiting,
        candidate: Candidate,
        asked: Record,
        state: RowState | None,
        asked_s: float,
    ) -> None:
        """Decide about a notice, given what became of the row that was asked about."""
        believed = self._believed(waiting, candidate)
        if believed is None:
            return
        memory = self.memories[candidate.queue]
        is_queued = state is not None and state.queued
        if is_queued:
            memory.confirmed(asked, asked_s)
        if believed is not asked and not is_queued:
            # Another one took its place meanwhile.
            unanswered = waiting.unanswered[candidate.queue]
            if not unanswered:
                self._queued[candidate.queue].add(waiting)
            unanswered.append(candidate)
            return
        candidate.decision = memory.judge(believed, state, self.runtime.seconds())
        self._answer(waiting, candidate)

    def _answer(self, waiting: Waiting, candidate: Candidate) -> None:
        candidate.is_answered = True
        waiting.left -= 1
        if not waiting.left:
            self.room.end(waiting)

    def _let_go(self, up_to: float = inf) -> None:
        """Let those go that wait no longer: each stores what is left of it at once."""
        for waiting in self.room.going(up_to):
            waited_s = self.runtime.seconds() - waiting.batch.came_s
            try:
                self.metrics.confirmed_in(waited_s)
            except Exception as error:  # noqa: BLE001 nothing of ours may go further
                self.failures.note("record", error)
            with self.runtime.outside_any_log_context():
                waiting.finish()

    def _let_everybody_go(self, decision: Decision) -> None:
        for waiting in list(self.room):
            self._give_up_on(waiting, decision)
        self._let_go()

    def _give_up_on(self, waiting: Waiting, decision: Decision) -> None:
        """End the wait of a batch; what was answered of it stays so."""
        if not waiting.is_over:
            left = [each for each in waiting.doubtful if not each.is_answered]
            decide(left, decision)
            self.room.end(waiting)

    def _be_overdue(self) -> None:
        self.is_overdue = True
        self._let_everybody_go(decisions.OVERDUE)

    def _rest(self, asked: _Asked) -> None:
        self._rest_until_s = self.runtime.seconds() + self._rest_s
        self._rest_s = min(2 * self._rest_s, MOST_REST_S)
        for some in asked.values():
            for waiting, *_ in some:
                self._give_up_on(waiting, decisions.FAILED)
        self._let_everybody_go(decisions.RESTING)

    def _set_timer(self, oldest_s: float) -> None:
        in_s = max(0.0, oldest_s + MOST_WAIT_S - self.runtime.seconds())
        self._timer = self.runtime.call_later(in_s, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        """Let those go that waited long enough."""
        self._timer = None
        now_s = self.runtime.seconds()
        for waiting in list(self.room):
            if waiting.batch.came_s + MOST_WAIT_S > now_s:
                self._set_timer(waiting.batch.came_s)
                break
            self._give_up_on(waiting, decisions.OVERDUE)
        self._let_go()
