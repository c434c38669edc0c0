"""Sort batches by their type: notices to the collapsers, Olm messages to the indexes.

Everything else is passed on after one look-up.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Collection, Optional, Tuple

import attrs

from synapse_withheld.delivery.batch import WILDCARD, LocalMessages, ObservedBatch
from synapse_withheld.delivery.collapser import Collapser, Write
from synapse_withheld.delivery.edus import (
    Edus,
    as_messages,
    types_of,
    users_sharing,
    without_collapsed,
)
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.memory.index import Index
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.identifiers import is_from
from synapse_withheld.rules.olm import OLM_TYPE, read_olm

# One Olm message, as far as it re-arms: recipient user, recipient device, sender,
# the sender's key, the recipient's keys.
OlmPassed = Tuple[str, str, str, Optional[str], Collection[str]]

# Stores EDUs, and notes in the batch at which stream ID, if there is a batch.
WriteEdus = Callable[[Edus, Optional[ObservedBatch]], Awaitable[Any]]

TO_RECIPIENT = "to_recipient"
TO_SENDER = "to_sender"


@attrs.define
class Traffic:
    """All to-device messages on their way to the store.

    Attributes:
        inbox: Decides about notices for local devices.
        outbox: Decides about notices for devices on other servers.
        collapses_outbox: Whether it does, or all of them are stored.
        types: The types of messages that any rule names.
    """

    inbox: Collapser
    outbox: Collapser
    collapses_outbox: bool
    types: frozenset[str]
    metrics: Metrics
    failures: Failures

    def decides_about(self, messages: LocalMessages) -> bool:
        """Say whether less than the whole batch may be stored; others just pass."""
        return _type_of(messages) in self.types

    async def to_local(
        self, messages: LocalMessages, write: Write, origin: str | None = None
    ) -> Any:
        """Store a batch for local devices.

        Args:
            messages: Messages of one sender and one type.
            write: Stores a batch as Synapse does.
            origin: The server it came from; `None` for a local client.

        Returns:
            What `write` returned.
        """
        message_type = _type_of(messages)
        if message_type == OLM_TYPE:
            marks = self._read_local(messages, origin)
            # What answers a notice goes the other way.
            inbox, outbox = self.inbox.index, self.outbox.index
            answered = inbox if origin is None else outbox
            begun = inbox.begun + outbox.begun
            self._rearm(marks, inbox, answered, count=True)
            try:
                return await write(messages)
            finally:
                # What was watched before is marked already.
                if inbox.begun + outbox.begun != begun:
                    self._rearm(marks, inbox, answered)
        if message_type in self.types and not self.failures.standing_aside:
            return await self.inbox.store(messages, write, origin)
        return await write(messages)

    async def to_remote(self, edus: Edus, write: WriteEdus) -> Any:
        """Store EDUs for other servers.

        Args:
            edus: EDUs of one sender and one type; they are not changed.
            write: Stores EDUs as Synapse does.

        Returns:
            What `write` returned.
        """
        types = types_of(edus)
        if OLM_TYPE in types:
            marks = self._read_remote(edus)
            inbox, outbox = self.inbox.index, self.outbox.index
            begun = inbox.begun + outbox.begun
            self._rearm(marks, outbox, inbox, count=True)
            try:
                return await write(edus, None)
            finally:
                if inbox.begun + outbox.begun != begun:
                    self._rearm(marks, outbox, inbox)
        if self.collapses_outbox and any(each in self.types for each in types):
            messages = self._messages_of(edus)
            if messages is not None and not self.failures.standing_aside:
                return await self._collapse_edus(edus, messages, write)
        return await write(edus, None)

    async def _collapse_edus(
        self, edus: Edus, messages: LocalMessages, write: WriteEdus
    ) -> Any:
        async def write_kept(kept: LocalMessages) -> Any:
            if isinstance(kept, ObservedBatch):
                left = self._left_of(edus, kept)
                if left is not None:
                    return await write(left, kept)
            return await write(edus, None)

        return await self.outbox.store(messages, write_kept, None)

    def _left_of(self, edus: Edus, kept: ObservedBatch) -> Edus | None:
        try:
            left = without_collapsed(edus, kept)
            kept.sharing = users_sharing(left)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("decide", error)
            return None
        return left

    def _messages_of(self, edus: Edus) -> LocalMessages | None:
        try:
            return as_messages(edus)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("decide", error)
            return None

    def _rearm(
        self,
        marks: list[OlmPassed],
        sent: Index,
        answered: Index,
        *,
        count: bool = False,
    ) -> None:
        """Re-arm the pairs that Olm messages passed between; before and after storing.

        Before, so that no notice collapses once the message is on its way; after,
        for notices that were stored meanwhile and may come before it.

        Args:
            marks: What the messages say of their ends.
            sent: The index of notices that go where the messages go.
            answered: That of notices that go where the messages come from.
            count: Whether to count what is re-armed.
        """
        to_recipient = to_sender = 0
        try:
            for user_id, device_id, sender, sender_key, recipient_keys in marks:
                if sender_key is not None:
                    if device_id == WILDCARD:
                        to_recipient += sent.rearm_user(user_id, sender, (sender_key,))
                    else:
                        to_recipient += sent.rearm_device(
                            (user_id, device_id), sender, sender_key
                        )
                if recipient_keys:
                    to_sender += answered.rearm_user(sender, user_id, recipient_keys)
            if count and to_recipient:
                self.metrics.rearmed(TO_RECIPIENT, to_recipient)
            if count and to_sender:
                self.metrics.rearmed(TO_SENDER, to_sender)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self._missed_some(error)

    def _read_local(
        self, messages: LocalMessages, origin: str | None
    ) -> list[OlmPassed]:
        marks: list[OlmPassed] = []
        try:
            for user_id, by_device in messages.items():
                for device_id, message in by_device.items():
                    olm = read_olm(message["content"])
                    if olm is None:
                        continue
                    sender, (key, recipient_keys) = message["sender"], olm
                    if origin is None or is_from(sender, origin):
                        marks.append((user_id, device_id, sender, key, recipient_keys))
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self._missed_some(error)
        return marks

    def _read_remote(self, edus: Edus) -> list[OlmPassed]:
        marks: list[OlmPassed] = []
        try:
            for edu in edus.values():
                if edu["type"] != OLM_TYPE:
                    continue
                for user_id, by_device in edu["messages"].items():
                    for device_id, content in by_device.items():
                        olm = read_olm(content)
                        if olm is not None:
                            marks.append((user_id, device_id, edu["sender"], *olm))
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self._missed_some(error)
        return marks

    def _missed_some(self, error: Exception) -> None:
        self.failures.note("rearm", error)
        self.inbox.index.clear()
        self.outbox.index.clear()


def _type_of(messages: LocalMessages) -> str | None:
    """Return the type of a batch: that of its first message, since all share it."""
    for by_device in messages.values():
        for message in by_device.values():
            message_type = message["type"]
            # Another server may have sent anything as a type.
            return message_type if isinstance(message_type, str) else None
    return None
