"""What people do next: a random life, the same for the same seed."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any, Callable, Coroutine, Iterator, NamedTuple

from tests.harness.messages import ENCRYPTED
from tests.model.client import TRACING
from tests.soak.lane import Lane
from tests.soak.people import Device, Reads, Sends, User
from tests.soak.talk import Said, Talk

TALKS, TALK_ENDS = 12, 0.03
MOST_DEVICES = 5
# For so many steps nobody takes the ID of a device that logged out: Synapse deletes
# its messages in the background.
UNUSED_FOR = 200


class Step(NamedTuple):
    """What somebody does; its users do and are sent nothing else meanwhile."""

    number: int
    users: tuple[User, ...]
    act: Callable[[Lane], Coroutine[Any, Any, None]]


class Life:
    def __init__(self, seed: int, people: list[User]) -> None:
        self.people = people
        self.sent: dict[int, Said] = {}  # by the number of the step
        # Which of these are Olm messages, by user IDs from whom and to whom.
        self.olm: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        # When each device logged out, by user ID and device ID.
        self.gone: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._here = [user for user in people if user.is_here]
        self._chance = random.Random(seed)  # noqa: S311 variety, not secrecy
        self._number = 0
        self._talks: list[Talk] = []

    def steps(self) -> Iterator[Step]:
        kinds: dict[Callable[[int, User], Step | None], float] = {
            self._talk: 70,
            self._read: 25,
            self._log_in: 0.7,
            self._log_out: 0.6,
            self._dehydrate: 0.6,
            lambda number, _: Step(number, (), Lane.go_away): 0.6,
        }
        while True:
            (kind,) = self._chance.choices(list(kinds), list(kinds.values()))
            self._number += 1
            step = kind(self._number, self._chance.choice(self._here))
            if step is not None:
                yield step

    def note(self, number: int, said: Said) -> None:
        self.sent[number] = said
        if said.message_type == ENCRYPTED:
            for user in said.messages:
                self.olm[said.sender.user.user_id, user.user_id].append(number)

    def last_reads(self) -> Iterator[Step]:
        for device in [device for user in self._here for device in user.reading()]:
            self._number += 1
            yield _reading(self._number, device, loses=False)

    def _talk(self, number: int, _: User) -> Step | None:
        if len(self._talks) < TALKS:
            self._talks.append(self._new_talk())
        talk = self._chance.choice(self._talks)
        is_gone = talk.sender not in talk.sender.user.devices
        if is_gone or self._chance.random() < TALK_ENDS:
            self._talks.remove(talk)
            return None
        if (said := talk.say(number)) is None:
            return None
        for by_device in said.messages.values():
            for device_id, content in by_device.items():
                by_device[device_id] = {**content, TRACING: str(number)}
        self.note(number, said)
        users = said.sender.user, *said.messages
        return Step(number, users, lambda lane: lane.send(number, said))

    def _new_talk(self) -> Talk:
        to = self._chance.choice(self.people)
        senders = self._here
        if not to.is_abroad:
            senders = [*senders, *(user for user in self.people if user.is_abroad)]
        if to.is_here and self._chance.random() < 0.2:
            senders = [to]
        sender = self._chance.choice(self._chance.choice(senders).devices)
        others = [each for each in self._chance.sample(self._here, 2) if each is not to]
        return Talk(sender, to, others, self._chance)

    def _read(self, number: int, somebody: User) -> Step | None:
        talked_to = [talk.to for talk in self._talks if talk.to.is_here]
        user = self._chance.choice(talked_to or [somebody])
        device = self._chance.choice(user.reading())
        if self._chance.random() * device.rarely > 1:
            return None
        return _reading(number, device, loses=self._chance.random() < 0.2)

    def _log_in(self, number: int, user: User) -> Step | None:
        if len(user.devices) >= MOST_DEVICES:
            return None
        device_id = f"NEW{number}"
        if user.left and user.left[0][1] + UNUSED_FOR < number:
            device_id, _ = user.left.pop(0)
        sends = self._chance.choice(list(Sends))
        reads = self._chance.choice([Reads.SYNC, Reads.SLIDING])
        rarely = self._chance.choice([1, 1, 4, 30])
        device = Device(user, device_id, sends, reads, number, rarely)
        user.devices.append(device)
        return Step(number, (user,), lambda lane: lane.log_in(device))

    def _log_out(self, number: int, user: User) -> Step | None:
        if len(user.devices) < 2:
            return None
        device = user.devices.pop(self._chance.randrange(len(user.devices)))
        user.left.append((device.device_id, number))
        self.gone[user.user_id, device.device_id].append(number)
        return Step(number, (user,), lambda lane: lane.log_out(device))

    def _dehydrate(self, number: int, user: User) -> Step:
        if (earlier := user.dehydrated) is not None:
            self.gone[user.user_id, earlier.device_id].append(number)
        device_id, by = f"DEHYDRATED{number}", user.devices[0]
        device = Device(user, device_id, Sends.RUST, Reads.DEHYDRATED, number, 4)
        user.dehydrated = device
        return Step(number, (user,), lambda lane: lane.dehydrate(device, by, earlier))


def _reading(number: int, device: Device, *, loses: bool) -> Step:
    by = device.user.devices[0]
    return Step(number, (device.user,), lambda lane: lane.read(device, by, loses))
