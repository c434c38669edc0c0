"""Read Olm messages as they pass, and re-arm the pairs between their two ends."""

from __future__ import annotations

from typing import Iterable, NamedTuple

import attrs

from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import DIRECTIONS
from synapse_withheld.rules.content import OLM_TYPE, read_olm
from synapse_withheld.rules.identifiers import is_from
from synapse_withheld.rules.mailbox import WILDCARD

TO_RECIPIENT, TO_SENDER = DIRECTIONS


class OlmPassed(NamedTuple):
    """One Olm message, as far as it re-arms; `abroad` if it is for another server."""

    user_id: str
    device_id: str
    sender: str
    sender_key: str | None
    abroad: bool


def olm_messages(
    local: LocalMessages, edus: Edus, origin: str | None
) -> list[OlmPassed]:
    """Return those of a batch whose sender is on the server that sent them."""
    messages = [
        (user_id, device_id, message["sender"], message["content"], False)
        for user_id, by_device in local.items()
        for device_id, message in by_device.items()
        if is_from(message["sender"], origin)
    ]
    messages += [
        (user_id, device_id, edu["sender"], content, True)
        for edu in edus.values()
        if edu["type"] == OLM_TYPE
        for user_id, by_device in edu["messages"].items()
        for device_id, content in by_device.items()
    ]
    return [
        OlmPassed(user_id, device_id, sender, olm[0], abroad)
        for user_id, device_id, sender, content, abroad in messages
        if (olm := read_olm(content)) is not None
    ]


@attrs.frozen
class Rearming:
    """What Olm messages do to what is remembered."""

    inbox: Memory
    outbox: Memory
    metrics: Metrics

    def passed(self, olm: Iterable[OlmPassed], origin: str | None) -> None:
        """Re-arm the pairs that Olm messages passed between.

        What answers a notice goes the other way: from where the notice is queued.
        """
        answered = self.inbox if origin is None else self.outbox
        to_recipient = to_sender = 0
        users: set[tuple[str, str]] = set()
        for user_id, device_id, sender, sender_key, abroad in olm:
            sent = self.outbox if abroad else self.inbox
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
