"""Remember what was stored of a batch, and count what was done. Nothing waits here."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Callable, Mapping

import attrs

from synapse_withheld.delivery.batch import (
    Batch,
    Candidate,
    ObservedBatch,
    may_be_taken_out,
    without,
)
from synapse_withheld.delivery.edus import by_user, users_sharing, without_collapsed
from synapse_withheld.delivery.housekeeping.housekeeper import Housekeeper
from synapse_withheld.memory.memory import Memory, Record
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import WILDCARD, Superseded
from synapse_withheld.rules.redundant import Row

# Counted for messages that nobody looked at.
NO_RULE = "none"

# Made once: with arguments of one's own, `json.dumps` makes a new one each time.
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


@attrs.frozen
class Settler:
    """What happens once Synapse has stored a batch.

    Attributes:
        memories: What is remembered, by queue.
        inbox: The name of the queue of local devices.
    """

    memories: Mapping[str, Memory]
    inbox: str
    housekeeper: Housekeeper
    metrics: Metrics
    tally: Tally
    stream_token: Callable[[], int]

    def believe_again(self, batch: Batch, now_s: float) -> None:
        """Ask the memory once more about what the database confirmed."""
        for each in batch.candidates:
            if each.collapses:
                memory = self.memories[each.queue]
                belief = memory.believe(each.mailbox, each.notice, now_s)
                if belief.record is None:
                    each.decision = belief.decision

    def take_out(self, batch: Batch) -> None:
        collapsed = [each for each in batch.candidates if each.collapses]
        if not collapsed:
            return
        # Nobody has mailboxes in both queues.
        messages = {**batch.local, **by_user(batch.edus)}
        mailboxes = may_be_taken_out(messages, {each.mailbox for each in collapsed})
        batch.local = without(batch.local, mailboxes)
        batch.edus = without_collapsed(batch.edus, mailboxes)
        for each in collapsed:
            if each.mailbox in mailboxes:
                self._abandon(each)
            else:
                each.decision = decisions.WILDCARD

    def settle(self, batch: Batch) -> None:
        """Remember what was stored, and hand on what is left to do."""
        sharing = users_sharing(batch.edus)
        for candidate in batch.candidates:
            storing, candidate.storing = candidate.storing, None
            if storing is not None:
                is_alone = candidate.mailbox[0] not in sharing
                self._settle(batch, candidate, storing, is_alone=is_alone)
        self._doubt_again(batch)
        stream_id = batch.local.stream_id
        for each in batch.to_all:
            if not batch.local.passed_over(each.mailbox):
                row = None if stream_id is None else Row(stream_id, each.notice)
                self.housekeeper.learn_user(each.mailbox[0], batch.who, row)
            self._abandon(each)
        for queue, messages in batch.unsorted.items():
            self._count(NO_RULE, queue, decisions.LIMIT, messages)

    def _settle(
        self, batch: Batch, candidate: Candidate, storing: Record, *, is_alone: bool
    ) -> None:
        queue, key = candidate.queue, candidate.mailbox
        memory, stored = self.memories[queue], self._stored(batch, queue)
        superseded: list[Superseded] | None = []
        if stored.stream_id is None:
            memory.abandon(storing)
        elif stored.passed_over(key):
            candidate.decision = decisions.UNKNOWN_DEVICE
            memory.abandon(storing)
            memory.forget(key)
        else:
            stream_id = stored.stream_id
            superseded = memory.settle(storing, stream_id, only_one_in_row=is_alone)
        if superseded is None:
            # Evicted, or opened by somebody else: what it holds is not known.
            memory.open(key, self.stream_token())
        elif superseded:
            self.housekeeper.tidy(queue, superseded, batch.who)
        # Also where nothing was stored: who repeats an EDU may name others in it.
        mailbox = memory.peek(key)
        if mailbox is not None and not mailbox.learned:
            self.housekeeper.learn(queue, mailbox, batch.who)

    def _doubt_again(self, batch: Batch) -> None:
        """Doubt mailboxes that were opened while something was stored unseen.

        They may have been learned before it was there, and what its sender told them
        meanwhile may be older. So it is with what nobody looked at, and in mailboxes
        that a message for all devices found unopened.
        """
        for queue, user_id, device_ids in batch.unseen:
            self.memories[queue].rearm_users(user_id, batch.sender)
            self.memories[queue].doubt(user_id, device_ids)
        memory = self.memories[self.inbox]
        begun = {each.mailbox for each in batch.candidates if each.wildcard}
        for each in batch.to_all:
            user_id = each.mailbox[0]
            others = [
                device_id
                for device_id in memory.devices_of(user_id)
                if (user_id, device_id) not in begun
            ]
            if others:
                memory.rearm_users(user_id, batch.sender)
                memory.doubt(user_id, others)
            for device_id in others:
                mailbox = memory.peek((user_id, device_id))
                if mailbox is not None:
                    self.housekeeper.learn(self.inbox, mailbox, batch.who)

    def forget(self, batch: Batch) -> None:
        """Forget the mailboxes of a batch: whether it was stored is not known."""
        for candidate in batch.candidates:
            self._abandon(candidate)
            self.memories[candidate.queue].forget(candidate.mailbox)
        for each in batch.to_all:
            self._abandon(each)
        self._doubt_again(batch)

    def forget_named(self, batch: Batch) -> None:
        """Forget all mailboxes that a batch names: what is for them was not sorted."""
        self.forget(batch)
        for queue, memory in self.memories.items():
            messages = batch.local if queue == self.inbox else by_user(batch.edus)
            for user_id, by_device in messages.items():
                everybody = WILDCARD in by_device
                devices = memory.devices_of(user_id) if everybody else by_device
                for device_id in devices:
                    memory.forget((user_id, device_id))

    def _abandon(self, candidate: Candidate) -> None:
        if candidate.storing is not None:
            self.memories[candidate.queue].abandon(candidate.storing)
            candidate.storing = None

    def _stored(self, batch: Batch, queue: str) -> ObservedBatch:
        return batch.local if queue == self.inbox else batch.edus

    def count(self, batch: Batch, candidates: list[Candidate]) -> None:
        """Count what was done with some notices of a batch."""
        counts: Counter[tuple[str, str, Decision]] = Counter()
        came: Counter[str] = Counter()
        sizes: dict[int, int] = {}
        saved: Counter[str] = Counter()
        for candidate in candidates:
            rule, queue = candidate.notice.rule.name, candidate.queue
            came[rule] += 1
            decision = candidate.decision
            if decision != decisions.UNKNOWN_DEVICE:
                self.tally.came_for(rule, candidate.mailbox)
            if candidate.collapses:
                message = candidate.message
                size = sizes.get(id(message["content"]))
                if size is None:
                    # One content may be for many devices, and be large.
                    size = sizes[id(message["content"])] = stored_size(message)
                saved[queue] += size
            elif self._stored(batch, queue).stream_id is None:
                decision = decisions.ALREADY_RECEIVED
            counts[rule, queue, decision] += 1
        for rule, times in came.items():
            self.tally.came_from(rule, batch.sender, times)
        for queue, size in saved.items():
            self.metrics.collapsed_bytes(queue, size)
        for (rule, queue, decision), times in counts.items():
            self._count(rule, queue, decision, times)

    def _count(self, rule: str, queue: str, decision: Decision, times: int) -> None:
        self.metrics.decision(rule, queue, decision, times)
        self.tally.decided(decision, times)


def stored_size(message: dict[str, Any]) -> int:
    """Return how many bytes of JSON Synapse stores for a message.

    0 for one that cannot be encoded, however its sender managed that.
    """
    try:
        return len(_ENCODE(message))
    except (RecursionError, TypeError, ValueError):
        return 0
