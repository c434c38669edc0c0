"""What people do next: a random life, the same for the same seed."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any, Callable, Iterator

import attrs

from tests.harness.clients.messages import ENCRYPTED, OLDER_WITHHELD, PLAIN
from tests.soak.people import (
    CODES,
    KEY_REQUEST,
    OTHER_SERVER,
    ROOMS,
    SECRET_REQUEST,
    VERIFICATION,
    Device,
    Reads,
    Sends,
    User,
    numbered,
)

DAY_MS = 86_400_000
TALKS = 12
# How many steps a device ID stays unused once it logged out: Synapse deletes its
# messages in the background.
UNUSED_FOR = 200
MOST_DEVICES = 5

Contents = dict[User, dict[str, dict[str, Any]]]


@attrs.frozen(eq=False, kw_only=True)
class Step:
    """Something that somebody does.

    Attributes:
        number: How many steps were before it.
        users: Who does nothing else, and is sent nothing else, meanwhile.
    """

    number: int
    users: frozenset[User]


@attrs.frozen(eq=False, kw_only=True)
class Send(Step):
    """A request with to-device messages, of this server's user or another's."""

    sender: Device
    message_type: str
    messages: Contents


@attrs.frozen(eq=False, kw_only=True)
class Read(Step):
    """A device reads all there is.

    Attributes:
        loses: Whether an answer gets lost on its way before.
        acknowledges: Whether it is still there to acknowledge the last one.
    """

    device: Device
    loses: bool
    acknowledges: bool


@attrs.frozen(eq=False, kw_only=True)
class LogIn(Step):
    device: Device


@attrs.frozen(eq=False, kw_only=True)
class LogOut(Step):
    device: Device


@attrs.frozen(eq=False, kw_only=True)
class LoseStore(Step):
    """A device uploads the keys of a new crypto store."""

    device: Device


@attrs.frozen(eq=False, kw_only=True)
class Dehydrate(Step):
    """A user leaves a dehydrated device, in the place of an earlier one."""

    device: Device
    earlier: Device | None


@attrs.frozen(eq=False, kw_only=True)
class Away(Step):
    """The other server goes away, or comes back."""

    is_away: bool


@attrs.define(eq=False)
class Talk:
    """A device and somebody whom it sends much for a while.

    Attributes:
        asked: What it asks for: the type, the ID, the content.
        taken_back: Requests for keys that it took back, and may make again.
        verifying: Transactions that are open, and their requests.
    """

    sender: Device
    to: User
    asked: list[tuple[str, str, dict[str, Any]]] = attrs.Factory(list)
    taken_back: list[tuple[str, dict[str, Any]]] = attrs.Factory(list)
    verifying: list[tuple[str, dict[str, Any]]] = attrs.Factory(list)


class Life:
    """Decides what happens next.

    Attributes:
        sent: All requests with messages so far, by their number.
        gone: When each device logged out, by user ID and device ID.
        devices: All that there ever were.
    """

    def __init__(self, seed: int, people: list[User]) -> None:
        self.sent: dict[int, Send] = {}
        self.gone: dict[tuple[str, str], list[int]] = {}
        self._chance = random.Random(seed)  # noqa: S311 variety, not secrecy
        self.people = people
        self.devices = [device for user in people for device in user.devices]
        self._numbers = itertools.count(1)
        self._number = 0
        self._is_away = False
        self._talks: list[Talk] = []

    def steps(self) -> Iterator[Step]:
        """Return steps without end."""
        kinds: dict[Callable[[], Step | None], float] = {
            self._talk: 70,
            self._read: 25,
            self._log_in: 0.7,
            self._log_out: 0.6,
            self._lose_store: 0.7,
            self._dehydrate: 0.6,
            self._go_away: 0.6,
        }
        while True:
            (kind,) = self._chance.choices(list(kinds), list(kinds.values()))
            self.next_number()
            if (step := kind()) is not None:
                yield step

    def next_number(self) -> int:
        """Return the number of the next step."""
        self._number = next(self._numbers)
        return self._number

    # What is sent.

    def _talk(self) -> Step | None:
        if len(self._talks) < TALKS:
            self._talks.append(self._new_talk())
        talk = self._chance.choice(self._talks)
        if talk.sender not in talk.sender.user.devices or self._chance.random() < 0.03:
            self._talks.remove(talk)
            return None
        ways: dict[Callable[[Talk], Send | None], float] = {
            self._notice: 40,
            self._withheld: 16,
            self._olm: 8,
            self._key_request: 14,
            self._secret_request: 8,
            self._verification: 10,
            self._other: 4,
        }
        (way,) = self._chance.choices(list(ways), list(ways.values()))
        return way(talk)

    def _new_talk(self) -> Talk:
        here = [user for user in self.people if user.is_here and user.devices]
        to = self._chance.choice([user for user in self.people if user.devices])
        senders = [*here, *(each for each in self.people if _is_abroad(each))]
        if _is_abroad(to):
            senders = here
        elif self._chance.random() < 0.2 and to.is_here:
            senders = [to]
        return Talk(self._chance.choice(self._chance.choice(senders).devices), to)

    def _notice(self, talk: Talk) -> Send:
        sender, room = talk.sender, self._chance.randrange(ROOMS)
        sends_older = sender.sends is Sends.LIBOLM and self._chance.random() < 0.3
        message_type = OLDER_WITHHELD if sends_older else sender.withheld_type
        if self._chance.random() < 0.2:
            sender.rotations[room] += 1
        to = [talk.to]
        if sender.sends is Sends.RUST and not _is_abroad(talk.to):
            # It tells everybody in the room at once.
            others = [each for each in self.people if each.is_here and each.devices]
            to = list({talk.to, *self._chance.sample(others, 2)})
        return self._send(sender, message_type, to, sender.notice(room))

    def _withheld(self, talk: Talk) -> Send:
        room = self._chance.randrange(ROOMS)
        content = talk.sender.withheld(room, self._chance.choice(CODES))
        return self._send(talk.sender, talk.sender.withheld_type, [talk.to], content)

    def _olm(self, talk: Talk) -> Send | None:
        other = self._chance.choice(talk.to.devices)
        sender, recipient = talk.sender, other
        if talk.to.is_here and self._chance.random() < 0.5:
            sender, recipient = recipient, sender
        if sender is recipient:
            return None
        content = sender.encrypted_for(recipient)
        return self._send_to(sender, ENCRYPTED, {recipient.user: {recipient: content}})

    def _key_request(self, talk: Talk) -> Send:
        """Ask, ask again, take it back, or ask again for what was taken back."""
        chance = self._chance.random()
        if talk.taken_back and chance < 0.2:
            request_id, content = self._chance.choice(talk.taken_back)
            talk.asked.append((KEY_REQUEST, request_id, content))
            return self._send(talk.sender, KEY_REQUEST, [talk.to], content)
        asked = [each for each in talk.asked if each[0] == KEY_REQUEST]
        if asked and chance < 0.75:
            chosen = self._chance.choice(asked)
            if chance < 0.5:
                return self._send(talk.sender, KEY_REQUEST, [talk.to], chosen[2])
            talk.taken_back.append((chosen[1], chosen[2]))
            return self._take_back(talk, chosen)
        room = self._chance.randrange(ROOMS)
        request_id = f"key{self._number}"
        content = talk.sender.key_request(request_id, room)
        talk.asked.append((KEY_REQUEST, request_id, content))
        return self._send(talk.sender, KEY_REQUEST, [talk.to], content)

    def _secret_request(self, talk: Talk) -> Send:
        """Ask, or take back; each is asked for once, as the specification has it."""
        asked = [each for each in talk.asked if each[0] == SECRET_REQUEST]
        if asked and self._chance.random() < 0.5:
            return self._take_back(talk, self._chance.choice(asked))
        request_id = f"secret{self._number}"
        content = talk.sender.secret_request(request_id)
        talk.asked.append((SECRET_REQUEST, request_id, content))
        return self._send(talk.sender, SECRET_REQUEST, [talk.to], content, all_of=True)

    def _take_back(self, talk: Talk, asked: tuple[str, str, dict[str, Any]]) -> Send:
        talk.asked.remove(asked)
        content = talk.sender.taken_back(asked[1])
        return self._send(talk.sender, asked[0], [talk.to], content, all_of=True)

    def _verification(self, talk: Talk) -> Send:
        """Begin one, ask again, go on, or end it from either side."""
        chance = self._chance.random()
        if not talk.verifying or chance < 0.3:
            transaction_id = f"transaction{self._number}"
            content = {
                "from_device": talk.sender.device_id,
                "methods": ["m.sas.v1"],
                "timestamp": self._timestamp(),
                "transaction_id": transaction_id,
            }
            talk.verifying.append((transaction_id, content))
            kind = f"{VERIFICATION}request"
            return self._send(talk.sender, kind, [talk.to], content, all_of=True)
        chosen = self._chance.choice(talk.verifying)
        transaction_id, request = chosen
        if chance < 0.45:
            kind = f"{VERIFICATION}request"
            return self._send(talk.sender, kind, [talk.to], request)
        message: dict[str, Any] = {"transaction_id": transaction_id}
        to_sender = {talk.sender.user: {talk.sender: message}}
        other = self._chance.choice(talk.to.devices)
        answers = talk.to.is_here and other is not talk.sender
        if answers and chance < 0.6:
            message.update(from_device=other.device_id, methods=["m.sas.v1"])
            return self._send_to(other, f"{VERIFICATION}ready", to_sender)
        talk.verifying.remove(chosen)
        if chance < 0.7:
            return self._send(talk.sender, f"{VERIFICATION}done", [talk.to], message)
        message.update(code="m.user", reason="no")
        kind = f"{VERIFICATION}cancel"
        if answers and chance < 0.8:
            return self._send_to(other, kind, to_sender)
        return self._send(talk.sender, kind, [talk.to], message, all_of=True)

    def _timestamp(self) -> int:
        """Return the time; now and then that of a client that was asleep for days."""
        age_ms = 2 * DAY_MS if self._chance.random() < 0.1 else 0
        return int(time.time() * 1000) - age_ms

    def _other(self, talk: Talk) -> Send:
        return self._send(talk.sender, PLAIN, [talk.to], {"body": "hello"})

    def _send(
        self,
        sender: Device,
        message_type: str,
        to: list[User],
        content: dict[str, Any],
        all_of: bool = False,
    ) -> Send:
        """Send to all devices of users, one by one or as `*`, or to some of them."""
        messages: dict[User, dict[Device | str, dict[str, Any]]] = {}
        for user in to:
            devices = user.reading()
            chance = self._chance.random()
            if chance < 0.15:
                messages[user] = {"*": content}
                continue
            if chance < 0.5 and not all_of:
                devices = self._chance.sample(devices, 1)
            messages[user] = dict.fromkeys(devices, content)
        return self._send_to(sender, message_type, messages)

    def _send_to(self, sender: Device, message_type: str, messages: Any) -> Send:
        contents: Contents = {
            user: {
                to if to == "*" else to.device_id: numbered(content, self._number)
                for to, content in by_device.items()
            }
            for user, by_device in messages.items()
        }
        users = frozenset({sender.user, *contents})
        step = Send(
            number=self._number,
            users=users,
            sender=sender,
            message_type=message_type,
            messages=contents,
        )
        self.sent[step.number] = step
        return step

    # What else happens.

    def _read(self) -> Read | None:
        users = [user for user in self.people if user.is_here]
        talked_to = [talk.to for talk in self._talks if talk.to.is_here]
        user = self._chance.choice(talked_to or users)
        device = self._chance.choice(user.reading())
        if self._chance.random() * device.rarely > 1:
            return None
        return Read(
            number=self._number,
            users=frozenset({user}),
            device=device,
            loses=self._chance.random() < 0.2,
            acknowledges=self._chance.random() < 0.5,
        )

    def _somebody(self) -> User:
        return self._chance.choice([user for user in self.people if user.is_here])

    def _log_in(self) -> LogIn | None:
        user = self._somebody()
        if len(user.devices) >= MOST_DEVICES:
            return None
        device_id, number = f"NEW{self._number}", self._number
        if user.left and user.left[0][1] + UNUSED_FOR < number:
            device_id, _ = user.left.pop(0)
        sends = self._chance.choice(list(Sends))
        reads = self._chance.choice([Reads.SYNC, Reads.SLIDING])
        rarely = self._chance.choice([1, 1, 4, 30])
        device = Device(user, device_id, sends, reads, number, rarely)
        user.devices.append(device)
        self.devices.append(device)
        return LogIn(number=number, users=frozenset({user}), device=device)

    def _log_out(self) -> LogOut | None:
        user = self._somebody()
        if len(user.devices) < 2:
            return None
        device = user.devices.pop(self._chance.randrange(len(user.devices)))
        user.left.append((device.device_id, self._number))
        self._note_gone(device)
        users = frozenset({user})
        return LogOut(number=self._number, users=users, device=device)

    def _lose_store(self) -> LoseStore:
        user = self._somebody()
        device = self._chance.choice(user.devices)
        device.lose_store()
        users = frozenset({user})
        return LoseStore(number=self._number, users=users, device=device)

    def _dehydrate(self) -> Dehydrate:
        user = self._somebody()
        earlier, device_id = user.dehydrated, f"DEHYDRATED{self._number}"
        if earlier is not None:
            self._note_gone(earlier)
        device = Device(user, device_id, Sends.RUST, Reads.DEHYDRATED, self._number, 4)
        user.dehydrated = device
        self.devices.append(device)
        users = frozenset({user})
        number = self._number
        return Dehydrate(number=number, users=users, device=device, earlier=earlier)

    def _go_away(self) -> Away:
        self._is_away = not self._is_away
        return Away(number=self._number, users=frozenset(), is_away=self._is_away)

    def _note_gone(self, device: Device) -> None:
        name = device.user.user_id, device.device_id
        self.gone.setdefault(name, []).append(self._number)


def _is_abroad(user: User) -> bool:
    return user.server == OTHER_SERVER
