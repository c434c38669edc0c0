"""What a device sends to somebody for a while, as the specification has it."""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import attrs

from tests.harness.messages import ENCRYPTED, MEGOLM, OLDER_WITHHELD, PLAIN
from tests.model.client import KEY_REQUEST, SECRET_REQUEST
from tests.soak.people import ROOMS, Content, Device, Sends, User

CANCELLATION = "request_cancellation"
VERIFICATION = "m.key.verification."
CODES = ("m.blacklisted", "m.unverified", "m.unauthorised", "m.unavailable")
DAY_MS = 86_400_000


class Said(NamedTuple):
    sender: Device
    message_type: str
    messages: dict[User, dict[str, Content]]


@attrs.define(eq=False)
class Talk:
    """A device, and somebody whom it sends much for a while."""

    sender: Device
    to: User
    others: list[User]  # in the same rooms
    chance: random.Random
    _going: list[Iterator[Said]] = attrs.Factory(list)

    def say(self, number: int) -> Said | None:
        ways: dict[Callable[[int], Said | None], int] = {
            self._notice: 40,
            self._withheld: 16,
            self._olm: 8,
            self._go_on: 32,
            lambda _: self._say(PLAIN, {"body": "hello"}): 4,
        }
        (way,) = self.chance.choices(list(ways), list(ways.values()))
        return way(number)

    def _notice(self, _: int) -> Said | None:
        sender, room, to = self.sender, self.chance.randrange(ROOMS), [self.to]
        message_type = sender.sends.value[2]
        if sender.sends is Sends.LIBOLM and self._happens(0.3):
            message_type = OLDER_WITHHELD
        if self._happens(0.2):
            sender.rotations[room] += 1
        if sender.sends is Sends.RUST and not self.to.is_abroad:
            # It tells everybody in the room at once.
            to += self.others
        return self._say(message_type, sender.notice(room), to=to)

    def _withheld(self, _: int) -> Said | None:
        room, code = self.chance.randrange(ROOMS), self.chance.choice(CODES)
        about = {**self.sender.session(room), "code": code, "reason": code}
        content = {**self.sender.notice(room), **about}
        return self._say(self.sender.sends.value[2], content)

    def _olm(self, _: int) -> Said | None:
        sender, recipient = self.sender, self.chance.choice(self.to.devices)
        if self.to.is_here and self._happens(0.5):
            sender, recipient = recipient, sender
        if sender is recipient:
            return None
        return _to_one(sender, ENCRYPTED, recipient, sender.encrypted_for(recipient))

    def _go_on(self, number: int) -> Said | None:
        """Say what comes next about one of several things, or begin another."""
        if not self._going or self._happens(0.3):
            ways = [self._ask_for_keys, self._ask_for_secret, self._verify]
            self._going.append(self.chance.choice(ways)(number))
        going = self.chance.choice(self._going)
        said = next(going, None)
        if said is None:
            self._going.remove(going)
        return said

    def _ask_for_keys(self, number: int) -> Iterator[Said]:
        """Ask, ask again, take it back, or ask again for what was taken back."""
        session = self.sender.session(self.chance.randrange(ROOMS))
        body = {"algorithm": MEGOLM, "sender_key": "whoever", **session}
        while True:
            yield self._request(KEY_REQUEST, number, "request", body=body)
            if self._happens(0.5):
                yield self._request(KEY_REQUEST, number, CANCELLATION)

    def _ask_for_secret(self, number: int) -> Iterator[Said]:
        """Ask, or take back: each is asked for once, as the specification has it."""
        name = "m.megolm_backup.v1"
        yield self._request(SECRET_REQUEST, number, "request", name=name)
        yield self._request(SECRET_REQUEST, number, CANCELLATION)

    def _request(self, kind: str, number: int, action: str, **more: Any) -> Said:
        asker = {"requesting_device_id": self.sender.device_id}
        content = {"action": action, "request_id": f"request{number}", **asker, **more}
        # Keys are asked of one device alone, too.
        return self._say(kind, content, all_of="body" not in more)

    def _verify(self, number: int) -> Iterator[Said]:
        """Begin, ask again, go on, and end it from either side."""
        # Some clients were asleep for days.
        age_ms = 2 * DAY_MS if self._happens(0.1) else 0
        about = {"transaction_id": f"transaction{number}"}
        methods = {"methods": ["m.sas.v1"], **about}
        timestamp = int(time.time() * 1000) - age_ms
        asked = {"from_device": self.sender.device_id, "timestamp": timestamp}
        yield self._say(f"{VERIFICATION}request", {**methods, **asked}, all_of=True)
        while self._happens(0.3):
            yield self._say(f"{VERIFICATION}request", {**methods, **asked})
        if self.to.is_here and self._happens(0.5):
            other = self.chance.choice(self.to.devices)
            ready = {"from_device": other.device_id, **methods}
            yield _to_one(other, f"{VERIFICATION}ready", self.sender, ready)
        cancelled = {"code": "m.user", "reason": "no", **about}
        if self._happens(0.5):
            yield self._say(f"{VERIFICATION}done", about)
        elif self.to.is_here and self._happens(0.5):
            other = self.chance.choice(self.to.devices)
            yield _to_one(other, f"{VERIFICATION}cancel", self.sender, cancelled)
        else:
            yield self._say(f"{VERIFICATION}cancel", cancelled, all_of=True)

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
