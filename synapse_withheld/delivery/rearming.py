"""Read Olm messages as they pass, and re-arm the pairs between their two ends."""

from __future__ import annotations

from typing import Iterable, NamedTuple

import attrs

from synapse_withheld.delivery.batch import WILDCARD, Edus, LocalMessages
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import DIRECTIONS
from synapse_withheld.rules.content import OLM_TYPE, read_olm
from synapse_withheld.rules.identifiers import is_from

TO_RECIPIENT, TO_SENDER = DIRECTIONS


class OlmPassed(NamedTuple):
    """One Olm message, as far as it re-arms."""

    user_id: str
    device_id: str
    sender: str
    sender_key: str | None


@attrs.frozen
class Olm:
    """The Olm messages of a batch.

    Attributes:
        local: Those for devices of this server.
        abroad: Those for devices of other servers.
        origin: The server that they came from; `None` for a local client.
    """

    local: list[OlmPassed]
    abroad: list[OlmPassed]
    origin: str | None

    @classmethod
    def of(cls, local: LocalMessages, edus: Edus, origin: str | None) -> Olm:
        """Read messages of the type `m.room.encrypted`."""
        return cls(_in_messages(local, origin), _in_edus(edus), origin)

    def __bool__(self) -> bool:
        return bool(self.local or self.abroad)


@attrs.frozen
class Rearming:
    """What Olm messages do to what is remembered."""

    inbox: Memory
    outbox: Memory
    metrics: Metrics

    def passed(self, olm: Olm) -> None:
        """Re-arm the pairs that Olm messages passed between.

        What answers a notice goes the other way: from where the notice is queued.
        """
        answered = self.inbox if olm.origin is None else self.outbox
        self._passed(olm.local, self.inbox, answered)
        self._passed(olm.abroad, self.outbox, self.inbox)

    def _passed(
        self, some: Iterable[OlmPassed], sent: Memory, answered: Memory
    ) -> None:
        to_recipient = to_sender = 0
        users: set[tuple[str, str]] = set()
        for user_id, device_id, sender, sender_key in some:
            if (user_id, sender) not in users:
                users.add((user_id, sender))
                to_sender += answered.rearm_users(sender, user_id)
            if device_id == WILDCARD:
                to_recipient += sent.rearm_users(user_id, sender)
            elif sender_key is not None:
                key = (user_id, device_id)
                to_recipient += sent.rearm_device(key, sender, sender_key)
        if to_recipient:
            self.metrics.rearmed(TO_RECIPIENT, to_recipient)
        if to_sender:
            self.metrics.rearmed(TO_SENDER, to_sender)


def _in_messages(messages: LocalMessages, origin: str | None) -> list[OlmPassed]:
    return [
        OlmPassed(user_id, device_id, message["sender"], olm[0])
        for user_id, by_device in messages.items()
        for device_id, message in by_device.items()
        if (olm := read_olm(message["content"])) is not None
        and is_from(message["sender"], origin)
    ]


def _in_edus(edus: Edus) -> list[OlmPassed]:
    return [
        OlmPassed(user_id, device_id, edu["sender"], olm[0])
        for edu in edus.values()
        if edu["type"] == OLM_TYPE
        for user_id, by_device in edu["messages"].items()
        for device_id, content in by_device.items()
        if (olm := read_olm(content)) is not None
    ]
