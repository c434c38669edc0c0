"""What people do next: a random life, the same for the same seed."""

from __future__ import annotations

import random
from typing import Any, Callable, Coroutine, Iterator

import attrs

from tests.model.client import TRACING
from tests.soak.lane import Lane
from tests.soak.people import Device, Reads, Sends, User
from tests.soak.talk import Said, Talk

TALKS, TALK_ENDS = 12, 0.03
MOST_DEVICES = 5
# For so many steps nobody takes the ID of a device that logged out: Synapse deletes
# its messages in the background.
UNUSED_FOR = 200

Act = Callable[[Lane], Coroutine[Any, Any, None]]


@attrs.frozen(eq=False)
class Step:
    """What somebody does; its users do and are sent nothing else meanwhile."""

    users: tuple[User, ...]
    act: Act


class Life:
    """Decides what happens next.

    Attributes:
        devices: All that there ever were.
        sent: All requests with messages so far, by the number of the step.
        gone: When each device logged out, by user ID and device ID.
    """

    def __init__(self, seed: int, people: list[User]) -> None:
        self.people = people
        self.devices = [device for user in people for device in user.devices]
        self.sent: dict[int, Said] = {}
        self.gone: dict[tuple[str, str], list[int]] = {}
        self._here = [user for user in people if user.is_here]
        self._chance = random.Random(seed)  # noqa: S311 variety, not secrecy
        self._number = 0
        self._is_away = False
        self._talks: list[Talk] = []

    def steps(self) -> Iterator[Step]:
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
            self._number += 1
            if (step := kind()) is not None:
                yield step

    def last_reads(self) -> Iterator[Step]:
        """Let every device read what is left for it."""
        for device in [device for user in self._here for device in user.reading()]:
            self._number += 1
            yield self._reading(device, loses=False, acknowledges=True)

    def _talk(self) -> Step | None:
        if len(self._talks) < TALKS:
            self._talks.append(self._new_talk())
        talk = self._chance.choice(self._talks)
        is_gone = talk.sender not in talk.sender.user.devices
        if is_gone or self._chance.random() < TALK_ENDS:
            self._talks.remove(talk)
            return None
        number, said = self._number, talk.say(self._number)
        if said is None:
            return None
        for by_device in said.messages.values():
            for device_id, content in by_device.items():
                by_device[device_id] = {**content, TRACING: str(number)}
        self.sent[number] = said
        users = said.sender.user, *said.messages
        return Step(users, lambda lane: lane.send(number, said))

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

    def _read(self) -> Step | None:
        talked_to = [talk.to for talk in self._talks if talk.to.is_here]
        user = self._chance.choice(talked_to or self._here)
        device = self._chance.choice(user.reading())
        if self._chance.random() * device.rarely > 1:
            return None
        loses, acknowledges = self._chance.random() < 0.2, self._chance.random() < 0.5
        return self._reading(device, loses=loses, acknowledges=acknowledges)

    def _reading(self, device: Device, *, loses: bool, acknowledges: bool) -> Step:
        number = self._number
        return Step(
            (device.user,), lambda lane: lane.read(number, device, loses, acknowledges)
        )

    def _log_in(self) -> Step | None:
        user, number = self._chance.choice(self._here), self._number
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
        self.devices.append(device)
        return Step((user,), lambda lane: lane.log_in(number, device))

    def _log_out(self) -> Step | None:
        user, number = self._chance.choice(self._here), self._number
        if len(user.devices) < 2:
            return None
        device = user.devices.pop(self._chance.randrange(len(user.devices)))
        user.left.append((device.device_id, number))
        self._note_gone(device)
        return Step((user,), lambda lane: lane.log_out(number, device))

    def _lose_store(self) -> Step:
        user, number = self._chance.choice(self._here), self._number
        device = self._chance.choice(user.devices)
        device.lose_store()
        return Step((user,), lambda lane: lane.lose_store(number, device))

    def _dehydrate(self) -> Step:
        user, number = self._chance.choice(self._here), self._number
        if (earlier := user.dehydrated) is not None:
            self._note_gone(earlier)
        device_id = f"DEHYDRATED{number}"
        device = Device(user, device_id, Sends.RUST, Reads.DEHYDRATED, number, 4)
        user.dehydrated = device
        self.devices.append(device)
        return Step((user,), lambda lane: lane.dehydrate(number, device, earlier))

    def _go_away(self) -> Step:
        self._is_away = is_away = not self._is_away
        return Step((), lambda lane: lane.go_away(is_away))

    def _note_gone(self, device: Device) -> None:
        name = device.user.user_id, device.device_id
        self.gone.setdefault(name, []).append(self._number)
