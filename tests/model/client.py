"""What a client knows after it read messages, as the specification has it.

Written without a look at the module: from "End-to-end encryption" in the Matrix
specification and from MSC3944.
"""

from __future__ import annotations

from typing import Any, Collection, Hashable, Iterable

import attrs

WITHHELD = "m.room_key.withheld"
KEY_REQUEST = "m.room_key_request"
SECRET_REQUEST = "m.secret.request"  # noqa: S105 a type
VERIFICATION_REQUEST = "m.key.verification.request"
VERIFICATION_CANCEL = "m.key.verification.cancel"

# What clients put in to follow a message, anew in each copy.
TRACING = "org.matrix.msgid"

# When a client gives up a verification, or ignores a request for one.
TIMEOUT_MS = 10 * 60 * 1000


@attrs.define
class Client:
    """A client's state.

    Attributes:
        read: How many messages it was given.
        without_olm: Senders' devices that cannot open an Olm session with it.
        codes: Why each session is withheld: the newest code that it was told.
        asked: What it is asked for and has not been told to forget, by request.
        prompts: Verifications that it asks its user about: who asks, and when.
        other: Messages of other types, in order, by their sender.
    """

    read: int = 0
    without_olm: set[Hashable] = attrs.Factory(set)
    codes: dict[Hashable, str] = attrs.Factory(dict)
    asked: dict[tuple[str, ...], set[str]] = attrs.Factory(dict)
    prompts: dict[Hashable, tuple[Hashable, int | None]] = attrs.Factory(dict)
    other: dict[str, list[Any]] = attrs.Factory(dict)

    @property
    def knows(self) -> tuple[Any, ...]:
        """Return all of the state but how much was read for it."""
        return self.without_olm, self.codes, self.asked, self.prompts, self.other

    def forget(self, now_ts: int, gone: Collection[tuple[str, str]]) -> None:
        """Drop what took too long, and what was asked by devices that are gone."""
        self.asked = {
            request: contents
            for request, contents in self.asked.items()
            if request[:2] not in gone
        }
        self.prompts = {
            verification: (asker, timestamp)
            for verification, (asker, timestamp) in self.prompts.items()
            if asker not in gone
            and (timestamp is None or now_ts < timestamp + TIMEOUT_MS)
        }

    def give(self, messages: Iterable[dict[str, Any]]) -> None:
        """Read messages."""
        for message in messages:
            self.read += 1
            self._read(message["sender"], message["type"], message["content"])

    def _read(self, sender: str, message_type: str, content: dict[str, Any]) -> None:
        if message_type == WITHHELD:
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
            asker, timestamp = (
                (sender, content["from_device"]),
                content.get("timestamp"),
            )
            self.prompts[sender, content["transaction_id"]] = asker, timestamp
        elif message_type == VERIFICATION_CANCEL:
            self.prompts.pop((sender, content["transaction_id"]), None)
        else:
            self.other.setdefault(sender, []).append(content)

    def _read_withheld(self, sender: str, content: dict[str, Any]) -> None:
        device = (sender, content["sender_key"])
        if content["code"] == "m.no_olm":
            self.without_olm.add(device)
        else:
            self.codes[device, content["session_id"]] = content["code"]
