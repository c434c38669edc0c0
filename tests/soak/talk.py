"""What a device sends to somebody for a while, as the specification has it."""

from __future__ import annotations

import random
import time
from typing import Any, Callable

import attrs

from tests.harness.messages import ENCRYPTED, OLDER_WITHHELD, PLAIN
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
    _asked: dict[str, tuple[str, Content]] = attrs.Factory(dict)
    _taken_back: dict[str, Content] = attrs.Factory(dict)
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
        content = self.sender.withheld(room, code)
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
        chance = self.chance.random()
        asked = [each for each, (kind, _) in self._asked.items() if kind == KEY_REQUEST]
        if self._taken_back and chance < 0.2:
            request_id = self.chance.choice(list(self._taken_back))
            self._asked[request_id] = KEY_REQUEST, self._taken_back.pop(request_id)
        elif asked and chance < 0.5:
            request_id = self.chance.choice(asked)
        elif asked and chance < 0.75:
            request_id = self.chance.choice(asked)
            self._taken_back[request_id] = self._asked[request_id][1]
            return self._take_back(request_id)
        else:
            request_id, room = f"key{number}", self.chance.randrange(ROOMS)
            content = self.sender.key_request(request_id, room)
            self._asked[request_id] = KEY_REQUEST, content
        return self._say(*self._asked[request_id])

    def _secret_request(self, number: int) -> Said:
        """Ask, or take back: each is asked for once, as the specification has it."""
        asked = [each for each, (kind, _) in self._asked.items() if kind != KEY_REQUEST]
        if asked and self._happens(0.5):
            return self._take_back(self.chance.choice(asked))
        request_id = f"secret{number}"
        content = self.sender.request(request_id, "request", name="m.megolm_backup.v1")
        self._asked[request_id] = SECRET_REQUEST, content
        return self._say(SECRET_REQUEST, content, all_of=True)

    def _take_back(self, request_id: str) -> Said:
        kind, _ = self._asked.pop(request_id)
        content = self.sender.request(request_id, CANCELLATION)
        return self._say(kind, content, all_of=True)

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
        to: list[User] | None = None,
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
