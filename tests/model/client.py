"""What a client knows after it read messages, as the specification has it.

Written without a look at the module: from "End-to-end encryption" in the Matrix
specification and from MSC3944.
"""

from __future__ import annotations

from math import inf
from typing import Any, Collection, Hashable, Iterable

import attrs

WITHHELD = "m.room_key.withheld"
OLDER_WITHHELD = "org.matrix.room_key.withheld"
KEY_REQUEST = "m.room_key_request"
SECRET_REQUEST = "m.secret.request"  # noqa: S105 a type
VERIFICATION_REQUEST = "m.key.verification.request"
VERIFICATION_CANCEL = "m.key.verification.cancel"

# What clients put in to follow a message, anew in each copy.
TRACING = "org.matrix.msgid"

# When a client gives up a verification, or ignores a request for one.
TIMEOUT_MS = 10 * 60 * 1000


def is_heeded(
    message: dict[str, Any], now_ts: int, gone: Collection[tuple[str, str]] = ()
) -> bool:
    """Say whether no request took too long, and none is of a device that is gone."""
    content = message["content"]
    if message["type"] == VERIFICATION_REQUEST:
        asker, ends_ts = content.get("from_device"), content.get("timestamp", inf)
    elif content.get("action") == "request":
        asker, ends_ts = content.get("requesting_device_id"), inf
    else:
        return True
    return (message["sender"], asker) not in gone and now_ts < ends_ts + TIMEOUT_MS


@attrs.define
class Client:
    """A client's state.

    Attributes:
        without_olm: Senders' devices that cannot open an Olm session with it.
        codes: Why each session is withheld: the newest code that it was told.
        asked: What it is asked for and has not been told to forget, by request.
        prompts: Verifications that it asks its user about: who asks, and when.
        other: Messages of other types, in order, by their sender.
    """

    without_olm: set[Hashable] = attrs.Factory(set)
    codes: dict[Hashable, str] = attrs.Factory(dict)
    asked: dict[tuple[str, ...], set[str]] = attrs.Factory(dict)
    prompts: dict[Hashable, tuple[str, int | None]] = attrs.Factory(dict)
    other: dict[str, list[Any]] = attrs.Factory(dict)

    @property
    def knows(self) -> tuple[Any, ...]:
        return self.without_olm, self.codes, self.asked, self.prompts, self.other

    def give(self, messages: Iterable[dict[str, Any]]) -> None:
        """Read messages."""
        for message in messages:
            self._read(message["sender"], message["type"], message["content"])

    def _read(self, sender: str, message_type: str, content: dict[str, Any]) -> None:
        if message_type in {WITHHELD, OLDER_WITHHELD}:
            self._read_withheld(sender, content)
        elif message_type in {KEY_REQUEST, SECRET_REQUEST}:
            asker = (sender, content["requesting_device_id"])
            request = (*asker, message_type, content["request_id"])
            if content["action"] == "request":
                said = {key: value for key, value in content.items() if key != TRACING}
                self.asked.setdefault(request, set()).add(repr(said))
            else:
                self.asked.pop(request, None)
        elif message_type == VERIFICATION_REQUEST:
            asked = (content["from_device"], content.get("timestamp"))
            self.prompts[sender, content["transaction_id"]] = asked
        elif message_type == VERIFICATION_CANCEL:
            self.prompts.pop((sender, content["transaction_id"]), None)
        else:
            self.other.setdefault(sender, []).append(content)

    def _read_withheld(self, sender: str, content: dict[str, Any]) -> None:
        key, device = content["sender_key"], content.get("from_device")
        if content["code"] == "m.no_olm":
            self.without_olm.add((sender, device, None if device else key))
        else:
            self.codes[sender, key, content["session_id"]] = content["code"]
