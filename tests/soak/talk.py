"""What a device sends to somebody for a while, as the specification has it."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Sequence

import attrs

from tests.harness.messages import ENCRYPTED, MEGOLM, OLDER_WITHHELD, PLAIN
from tests.model.client import KEY_REQUEST, SECRET_REQUEST
from tests.soak.people import ROOMS, Device, Sends, User

CANCELLATION = "request_cancellation"
VERIFICATION = "m.key.verification."
CODES = ("m.blacklisted", "m.unverified", "m.unauthorised", "m.unavailable")
DAY_MS = 86_400_000

Content = dict[str, Any]


@attrs.frozen
class Said:
    sender: Device
    message_type: str
    messages: dict[User, dict[str, Content]]


@attrs.define(eq=False)
class Talk:
    """A device, and somebody whom it sends much for a while.

    Attributes:
        others: Who is in the same rooms.
    """

    sender: Device
    to: User
    others: list[User]
    chance: random.Random
    _keys: dict[str, Content] = attrs.Factory(dict)
    _taken_back: dict[str, Content] = attrs.Factory(dict)
    _secrets: list[str] = attrs.Factory(list)
    _verifying: dict[str, Content] = attrs.Factory(dict)

    def say(self, number: int) -> Said | None:
        ways: dict[Callable[[int], Said | None], int] = {
            self._notice: 40,
            self._withheld: 16,
            self._olm: 8,
            self._key_request: 14,
            self._secret_request: 8,
            self._verification: 10,
            self._other: 4,
        }
        (way,) = self.chance.choices(list(ways), list(ways.values()))
        return way(number)

    def _notice(self, _: int) -> Said:
        sender, room, to = self.sender, self.chance.randrange(ROOMS), [self.to]
        sends_older = sender.sends is Sends.LIBOLM and self._happens(0.3)
        message_type = OLDER_WITHHELD if sends_older else sender.withheld_type
        if self._happens(0.2):
            sender.rotate(room)
        if sender.sends is Sends.RUST and not self.to.is_abroad:
            # It tells everybody in the room at once.
            to += self.others
        return self._say(message_type, sender.notice(room), to=to)

    def _withheld(self, _: int) -> Said:
        room, code = self.chance.randrange(ROOMS), self.chance.choice(CODES)
        about = {**self.sender.session(room), "code": code, "reason": code}
        content = {**self.sender.notice(room), **about}
        return self._say(self.sender.withheld_type, content)

    def _olm(self, _: int) -> Said | None:
        sender, recipient = self.sender, self.chance.choice(self.to.devices)
        if self.to.is_here and self._happens(0.5):
            sender, recipient = recipient, sender
        if sender is recipient:
            return None
        content = sender.encrypted_for(recipient)
        return _to_one(sender, ENCRYPTED, recipient, content)

    def _key_request(self, number: int) -> Said:
        """Ask, ask again, take it back, or ask again for what was taken back."""
        chance, request_id = self.chance.random(), f"key{number}"
        if self._taken_back and chance < 0.2:
            request_id = self.chance.choice(list(self._taken_back))
            self._keys[request_id] = self._taken_back.pop(request_id)
        elif self._keys and chance < 0.75:
            request_id = self.chance.choice(list(self._keys))
            if chance >= 0.5:
                self._taken_back[request_id] = self._keys.pop(request_id)
                return self._take_back(KEY_REQUEST, request_id)
        else:
            session = self.sender.session(self.chance.randrange(ROOMS))
            body = {"algorithm": MEGOLM, "sender_key": "whoever", **session}
            self._keys[request_id] = self._request(request_id, "request", body=body)
        return self._say(KEY_REQUEST, self._keys[request_id])

    def _secret_request(self, number: int) -> Said:
        """Ask, or take back: each is asked for once, as the specification has it."""
        if self._secrets and self._happens(0.5):
            return self._take_back(SECRET_REQUEST, self._secrets.pop())
        self._secrets.append(f"secret{number}")
        content = self._request(f"secret{number}", "request", name="m.megolm_backup.v1")
        return self._say(SECRET_REQUEST, content, all_of=True)

    def _take_back(self, message_type: str, request_id: str) -> Said:
        content = self._request(request_id, CANCELLATION)
        return self._say(message_type, content, all_of=True)

    def _request(self, request_id: str, action: str, **more: Any) -> Content:
        asker = {"requesting_device_id": self.sender.device_id}
        return {"action": action, "request_id": request_id, **asker, **more}

    def _verification(self, number: int) -> Said:
        """Begin one, ask again, go on, or end it from either side."""
        chance = self.chance.random()
        if not self._verifying or chance < 0.3:
            return self._verify(f"transaction{number}")
        chosen = self.chance.choice(list(self._verifying))
        if chance < 0.45:
            return self._say(f"{VERIFICATION}request", self._verifying[chosen])
        content: Content = {"transaction_id": chosen}
        other = self.chance.choice(self.to.devices)
        answers = self.to.is_here and other is not self.sender
        if answers and chance < 0.6:
            content.update(from_device=other.device_id, methods=["m.sas.v1"])
            return _to_one(other, f"{VERIFICATION}ready", self.sender, content)
        del self._verifying[chosen]
        if chance < 0.7:
            return self._say(f"{VERIFICATION}done", content)
        content.update(code="m.user", reason="no")
        if answers and chance < 0.8:
            return _to_one(other, f"{VERIFICATION}cancel", self.sender, content)
        return self._say(f"{VERIFICATION}cancel", content, all_of=True)

    def _verify(self, transaction_id: str) -> Said:
        # Some clients were asleep for days.
        age_ms = 2 * DAY_MS if self._happens(0.1) else 0
        self._verifying[transaction_id] = content = {
            "from_device": self.sender.device_id,
            "methods": ["m.sas.v1"],
            "timestamp": int(time.time() * 1000) - age_ms,
            "transaction_id": transaction_id,
        }
        return self._say(f"{VERIFICATION}request", content, all_of=True)

    def _other(self, _: int) -> Said:
        return self._say(PLAIN, {"body": "hello"})

    def _say(
        self,
        message_type: str,
        content: Content,
        *,
        to: Sequence[User] = (),
        all_of: bool = False,
    ) -> Said:
        """Send to all devices of users, one by one or as `*`, or to one of them."""
        messages = {}
        for user in to or [self.to]:
            device_ids = [each.device_id for each in user.reading()]
            chance = self.chance.random()
            if chance < 0.15:
                device_ids = ["*"]
            elif chance < 0.5 and not all_of:
                device_ids = [self.chance.choice(device_ids)]
            messages[user] = dict.fromkeys(device_ids, content)
        return Said(self.sender, message_type, messages)

    def _happens(self, probability: float) -> bool:
        return self.chance.random() < probability


def _to_one(sender: Device, message_type: str, to: Device, content: Content) -> Said:
    return Said(sender, message_type, {to.user: {to.device_id: content}})
