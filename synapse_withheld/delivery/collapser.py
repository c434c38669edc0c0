"""Decide about each batch before it is stored, and remember what was stored.

A batch goes in, what to store comes out; afterwards the index is brought up to
date and what was superseded is tidied. Whatever fails here, the batch is stored.
"""

from __future__ import annotations

import json
from typing import Any, Awaitable, Callable

import attrs

from synapse_withheld.config import Config
from synapse_withheld.database.queues import Queue
from synapse_withheld.delivery.batch import (
    WILDCARD,
    Candidate,
    LocalMessages,
    ObservedBatch,
    find_candidates,
    users_to_keep_whole,
    without,
)
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.judging import Judge, Verdict
from synapse_withheld.delivery.tidying import Tidier
from synapse_withheld.delivery.waiting import (
    PATIENCE_S,
    PatienceEndedError,
    Runtime,
    SenderLocks,
)
from synapse_withheld.memory.index import Index
from synapse_withheld.memory.storing import Storing
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.content import WITHHELD_TYPES, code_of
from synapse_withheld.rules.decision import COLLAPSE, Decision
from synapse_withheld.rules.identifiers import is_from
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.notice import Notice, Rule
from synapse_withheld.rules.ruleset import Ruleset

# Stores a batch; what it returns is passed on.
Write = Callable[[LocalMessages], Awaitable[Any]]


@attrs.define
class Plan:
    """What becomes of a batch."""

    kept: LocalMessages
    verdicts: list[Verdict] = attrs.Factory(list)
    watches: list[Storing] = attrs.Factory(list)
    release: Callable[[], None] = lambda: None
    # Whether what is stored of it will not be watched.
    failed: bool = False


@attrs.define
class Collapser:
    """The rule at work on batches of withheld messages for one queue.

    Attributes:
        device_list_id: The position of the device list stream that all reached.
    """

    config: Config
    rules: Ruleset
    queue: Queue
    index: Index
    judge: Judge
    tidier: Tidier
    device_list_id: Callable[[], int]
    runtime: Runtime
    metrics: Metrics
    tally: Tally
    failures: Failures
    locks: SenderLocks

    async def store(
        self, messages: LocalMessages, write: Write, origin: str | None
    ) -> Any:
        """Store a batch of withheld messages without what need not be stored.

        Args:
            messages: The batch: messages of one sender.
            write: Stores a batch as Synapse does.
            origin: The server the batch came from; `None` for a local client.

        Returns:
            What `write` returned.
        """
        plan = await self._plan(messages, origin)
        try:
            result = await write(plan.kept)
        except BaseException:
            # Whether the rows were written is not known.
            self._guard(lambda: self._forget(plan, messages))
            raise
        else:
            self._guard(lambda: self._settle(plan, messages))
            return result
        finally:
            plan.release()

    async def _plan(self, messages: LocalMessages, origin: str | None) -> Plan:
        started = self.runtime.seconds()
        plan = Plan(kept=messages)
        try:
            candidates = self._find(messages, origin)
            if candidates:
                plan.verdicts = await self._judge(plan, candidates)
                self._carry_out(plan, messages, started)
                self.metrics.decided_in(self.runtime.seconds() - started)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("decide", error)
            plan.kept, plan.verdicts, plan.failed = messages, [], True
        return plan

    def _find(self, messages: LocalMessages, origin: str | None) -> list[Candidate]:
        source = "local" if origin is None else "federation"

        def read(message: dict[str, Any]) -> Notice | None:
            sender = message["sender"]
            content = message["content"]
            if message["type"] in WITHHELD_TYPES:
                self.metrics.message(code_of(content), source)
            notice = self.rules.read(sender, message["type"], content)
            if notice is not None and not is_from(sender, origin):
                self._count(notice.rule, decisions.SPOOFED_SENDER)
                return None
            return notice

        wildcards = self.queue.has_all_devices
        return find_candidates(messages, read, wildcards=wildcards)

    async def _judge(self, plan: Plan, candidates: list[Candidate]) -> list[Verdict]:
        """Decide, holding the sender's lock if anything is to be stored.

        Without answers in time, all of it is.
        """
        try:
            verdicts = await self.judge.collapse_at_once(candidates)
            if verdicts is not None:
                return verdicts
            plan.release = await self.locks.acquire(
                candidates[0].notice.pair.sender, PATIENCE_S
            )
            return await self.judge.judge(candidates)
        except PatienceEndedError:
            decision = decisions.WAITED
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("statement", error)
            decision = decisions.FAILED
        return [
            Verdict(each, (each.user_id, each.device_id), decision)
            for each in candidates
        ]

    def _carry_out(self, plan: Plan, messages: LocalMessages, started_s: float) -> None:
        collapsed = self._fully_collapsed(plan, messages)
        plan.verdicts = [
            attrs.evolve(verdict, decision=decisions.WILDCARD)
            if verdict.decision.action == COLLAPSE
            and id(verdict.candidate) not in collapsed
            else verdict
            for verdict in plan.verdicts
        ]
        taken_out = collapsed.values() if self.config.enforces else ()
        plan.kept = without(messages, taken_out)
        device_list_id = self.device_list_id()
        for verdict in plan.verdicts:
            if verdict.decision.action != COLLAPSE:
                notice = verdict.candidate.notice
                watch = self.index.begin(verdict.mailbox, notice, device_list_id)
                watch.undelivered_s = started_s
                plan.watches.append(watch)

    def _fully_collapsed(
        self, plan: Plan, messages: LocalMessages
    ) -> dict[int, Candidate]:
        """Return the candidates that no mailbox needs, by identity."""
        collapsed: dict[int, Candidate] = {}
        needed: set[int] = set()
        for verdict in plan.verdicts:
            candidate = verdict.candidate
            if verdict.decision.action == COLLAPSE:
                collapsed[id(candidate)] = candidate
            else:
                needed.add(id(candidate))
        for key in needed:
            collapsed.pop(key, None)
        whole = users_to_keep_whole(messages, collapsed.values())
        return {
            key: candidate
            for key, candidate in collapsed.items()
            if candidate.user_id not in whole
        }

    def _settle(self, plan: Plan, messages: LocalMessages) -> None:
        """Remember what was stored, count, and tidy what it superseded."""
        if plan.failed:
            self._forget(plan, messages)
        if not isinstance(plan.kept, ObservedBatch):
            return
        stream_id = plan.kept.stream_id
        superseded: list[Superseded] = []
        watches, plan.watches = plan.watches, []
        for watch in watches:
            if stream_id is None:
                self.index.abandon(watch)
            else:
                watch.only_one_in_row = watch.mailbox[0] not in plan.kept.sharing
                superseded += self.index.settle(watch, stream_id)
        if self.config.enforces:
            self.tidier.add(superseded)
        self._count_verdicts(plan, stored=stream_id is not None)
        if any(verdict.is_blind for verdict in plan.verdicts):
            self._forget(plan, messages)

    def _count_verdicts(self, plan: Plan, *, stored: bool) -> None:
        for verdict in plan.verdicts:
            notice = verdict.candidate.notice
            self.tally.came(notice.rule.name, notice.pair.sender, verdict.mailbox)
            if verdict.decision.action == COLLAPSE:
                size = stored_size(verdict.candidate.message)
                self.metrics.collapsed_bytes(self.queue.name, size)
            is_row = stored or verdict.decision.action == COLLAPSE
            decision = verdict.decision if is_row else decisions.ALREADY_RECEIVED
            self._count(notice.rule, decision)

    def _forget(self, plan: Plan, messages: LocalMessages) -> None:
        """Forget the mailboxes of a batch: something in them was not watched."""
        watches, plan.watches = plan.watches, []
        for watch in watches:
            self.index.abandon(watch)
        for user_id, by_device in messages.items():
            for device_id in by_device:
                if device_id == WILDCARD:
                    self.index.forget_user(user_id)
                else:
                    self.index.forget((user_id, device_id))

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("record", error)
            # What the index says may be wrong now.
            self.index.clear()

    def _count(self, rule: Rule, decision: Decision) -> None:
        self.metrics.decision(rule.name, self.queue.name, decision)
        self.tally.decided(decision)


def stored_size(message: dict[str, Any]) -> int:
    """Return how many bytes of JSON Synapse stores for a message.

    0 for one that cannot be encoded, however its sender managed that.
    """
    try:
        return len(json.dumps(message, separators=(",", ":")))
    except (RecursionError, TypeError, ValueError):
        return 0
