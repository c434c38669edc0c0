"""Find the notices of a batch, and ask the memory about each. Nothing waits here."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Collection

import attrs

from synapse_withheld.delivery.batch import (
    Batch,
    Candidate,
    LocalMessages,
    how_many,
)
from synapse_withheld.memory.memory import Memory, Record
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.content import NO_OLM, WITHHELD_TYPES, code_of
from synapse_withheld.rules.identifiers import is_from, may_exist
from synapse_withheld.rules.mailbox import WILDCARD, MailboxKey
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.ruleset import Ruleset

# Of how many messages a batch is looked at, for each queue: as many as clients send at
# once. More are sent to keep a server busy.
MOST_SORTED = 250


@attrs.define
class Sorter:
    """What sorts messages for one queue.

    Attributes:
        queue: The queue's name.
        has_all_devices: Whether `*` means devices that this server knows. For those
            of other servers only they know, so it is left to them.
        stream_token: The position up to which readers see to-device messages.
        device_list_id: The position of the device list stream that all reached.
        begun: How many notices it ever sorted.
    """

    queue: str
    has_all_devices: bool
    memory: Memory
    rules: Ruleset
    metrics: Metrics
    stream_token: Callable[[], int]
    device_list_id: Callable[[], int]
    reader_never_acknowledges: Callable[[str], bool]
    begun: int = 0

    def sort(self, batch: Batch, messages: LocalMessages, origin: str | None) -> None:
        """Add the notices among messages to a batch, as far as one may act on them.

        Args:
            batch: What they are added to.
            messages: All or a part of the batch.
            origin: The server it came from; `None` for a local client.
        """
        if how_many(messages) > MOST_SORTED:
            self._leave_unsorted(batch, messages, origin)
            return
        token = self.stream_token()
        batch.device_list_id = self.device_list_id()
        codes: Counter[str] = Counter()
        for user_id, by_device in messages.items():
            user_may_exist = may_exist(user_id)
            for device_id, message in by_device.items():
                notice = self._read(message, origin, codes)
                if notice is None or not user_may_exist:
                    continue
                if device_id == WILDCARD and not self.has_all_devices:
                    self._doubt(batch, user_id, by_device)
                elif device_id == WILDCARD and len(by_device) == 1:
                    self._sort_for_all(batch, user_id, notice, message)
                elif may_exist(device_id):
                    key = (user_id, device_id)
                    self.memory.open(key, token)
                    self._begin(batch, key, notice, message)
        source = "local" if origin is None else "federation"
        for code, times in codes.items():
            self.metrics.message(code, source, times)

    def _leave_unsorted(
        self, batch: Batch, messages: LocalMessages, origin: str | None
    ) -> None:
        if is_from(batch.sender, origin):
            for user_id, by_device in messages.items():
                self._doubt(batch, user_id, by_device)
                batch.unsorted[self.queue] += len(by_device)

    def _doubt(self, batch: Batch, user_id: str, device_ids: Collection[str]) -> None:
        batch.unseen.append((self.queue, user_id, device_ids))
        self.memory.doubt(user_id, device_ids)

    def _read(
        self, message: dict[str, Any], origin: str | None, codes: Counter[str]
    ) -> Notice | None:
        sender, content = message["sender"], message["content"]
        notice = self.rules.read(sender, message["type"], content)
        if message["type"] in WITHHELD_TYPES:
            # What a rule reads is well-formed, and need not be read again.
            is_no_olm = notice is not None and content["code"] == NO_OLM
            codes[NO_OLM if is_no_olm else code_of(content)] += 1
        if notice is not None and not is_from(sender, origin):
            decision = decisions.SPOOFED_SENDER
            self.metrics.decision(notice.rule.name, self.queue, decision)
            return None
        return notice

    def _sort_for_all(
        self, batch: Batch, user_id: str, notice: Notice, message: dict[str, Any]
    ) -> None:
        """Begin a notice for all devices of a user in each of their mailboxes.

        It is stored whatever they hold: others are not remembered.
        """
        key = (user_id, WILDCARD)
        everybody = Candidate(self.queue, key, notice, message, decisions.FIRST)
        batch.to_all.append(everybody)
        if notice.rule.vanishes:
            # No cancellation may vanish before it is known where this was stored.
            everybody.storing = self._storing(batch, key, notice)
        remembered = self.memory.devices_of(user_id)
        for device_id in remembered[:MOST_SORTED]:
            self._begin(batch, (user_id, device_id), notice, message, wildcard=True)
        if len(remembered) > MOST_SORTED:
            self._doubt(batch, user_id, dict.fromkeys(remembered[MOST_SORTED:]))
        if not remembered:
            batch.candidates.append(attrs.evolve(everybody, storing=None))

    def _begin(
        self,
        batch: Batch,
        key: MailboxKey,
        notice: Notice,
        message: dict[str, Any],
        *,
        wildcard: bool = False,
    ) -> None:
        now_s = batch.came_s
        decision, record = self.memory.believe(key, notice, now_s)
        if record is not None:
            if wildcard:
                decision, record = decisions.WILDCARD, None
            elif self.reader_never_acknowledges(key[0]):
                decision, record = decisions.NEVER_ACKNOWLEDGED, None
        storing = self._storing(batch, key, notice)
        self.begun += 1
        batch.candidates.append(
            Candidate(
                self.queue, key, notice, message, decision, record, storing, wildcard
            )
        )

    def _storing(self, batch: Batch, key: MailboxKey, notice: Notice) -> Record:
        return self.memory.begin(
            key, notice, batch.who, batch.device_list_id, batch.came_s
        )
