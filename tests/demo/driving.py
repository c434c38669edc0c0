"""Send the demonstration's traffic to homeservers, and measure what is left."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Iterable, Mapping, Sequence, Tuple

import attrs
from twisted.internet.defer import CancelledError

from tests.demo.output import say
from tests.harness.client import Client
from tests.harness.messages import ENCRYPTED, OlmDevice
from tests.harness.samples import total
from tests.harness.servers.homeserver import Homeserver, rows_of, running
from tests.harness.servers.stage import log_in
from tests.harness.waiting import become, together

RECIPIENT, FRIEND = "recipient", "friend"
AWAY, TABLET = "AWAY", "TABLET"

# Superseded rows are deleted in the background, a moment after others are stored.
TIDY_WITHIN_S = 5.0

# Says of a mailbox's rows whether the module has done all it does.
IsTidy = Callable[[Sequence[str]], object]
# The module's configuration, `None` without it, and when its work is done.
Kind = Tuple[Any, IsTidy]
STOCK: Kind = (None, lambda _: True)


@attrs.frozen
class Send:
    """One request: a message to each of some devices of a user; `*` are all of them."""

    sender: str
    message_type: str
    messages: Mapping[str, dict[str, Any]]
    to: str = RECIPIENT


# One after the other. The lanes of a stage are sent at the same time, the requests of
# a lane in order.
Stages = Sequence[Sequence[Sequence[Send]]]


@attrs.define(eq=False)
class Cast:
    """Who takes part, on one homeserver, and what is measured there in the end.

    Attributes:
        people: Their clients by name, the recipient's too.
        devices: The recipient's devices, of which the first is away.
        failed: How many requests were not answered 200.
        mailboxes: The JSON text of the queued rows of each device, before the one that
            was away came back; people by their names.
        size: How many bytes these have as they are stored.
        metrics: All samples then.
        synced: The messages that the device that was away got when it came back.
        syncs: How many syncs it took to have the last Olm message.
        seconds: How long these took.
    """

    homeserver: Homeserver
    people: Mapping[str, Client]
    devices: Sequence[Client]
    failed: int = attrs.field(default=0, init=False)
    mailboxes: dict[str, list[str]] = attrs.field(factory=dict, init=False)
    size: int = attrs.field(default=0, init=False)
    metrics: Mapping[str, float] = attrs.field(factory=dict, init=False)
    synced: list[dict[str, Any]] = attrs.field(factory=list, init=False)
    syncs: int = attrs.field(default=0, init=False)
    seconds: float = attrs.field(default=0.0, init=False)

    async def send(self, sends: Iterable[Send]) -> None:
        """Make requests, one after the other."""
        for send in sends:
            messages = {self.people[send.to].user_id: dict(send.messages)}
            client = self.people[send.sender]
            try:
                status = await client.send_to_device(send.message_type, messages)
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 no answer, whatever the cause, is a failure
                status = 0
            self.failed += status != 200

    async def settled(self, is_tidy: IsTidy) -> None:
        """Wait until the module has tidied the mailboxes, or should have."""
        await become(
            lambda: all(
                is_tidy(rows_of(self.homeserver, each)) for each in self.devices
            ),
            TIDY_WITHIN_S,
        )

    async def counts(self) -> Mapping[str, float]:
        return await self.homeserver.metrics()

    async def measure(self) -> None:
        self.metrics = await self.counts()
        for each in self.devices:
            rows = rows_of(self.homeserver, each)
            self.size += sum(len(row.encode()) for row in rows)
            self.mailboxes[each.device_id] = [*map(self._named, rows)]
        started = perf_counter()
        async for number, messages in self.devices[0].syncs():
            if any(each["type"] == ENCRYPTED for each in messages):
                self.syncs, self.seconds = number, perf_counter() - started
            self.synced += messages
        self.synced = json.loads(self._named(json.dumps(self.synced)))

    def rows(self) -> list[str]:
        return [text for texts in self.mailboxes.values() for text in texts]

    def sum(self, name: str) -> int:
        return int(total(self.metrics, f"synapse_withheld_{name}"))

    def _named(self, text: str) -> str:
        """Return JSON with names for user IDs: so those of two servers compare."""
        for name, client in self.people.items():
            text = text.replace(f'"{client.user_id}"', f'"{name}"')
        return text


def device_id(name: str) -> str:
    return f"{name.upper().replace('_', '')}DEV"


async def drive(
    directory: Path,
    kinds: Mapping[str, Kind],
    stages: Stages,
    recipient: OlmDevice,
    *,
    users: Iterable[str],
    own: Mapping[str, str],
) -> dict[str, Cast]:
    """Send everything to a homeserver of each kind, and measure what is left.

    Args:
        directory: Where they are.
        kinds: By name.
        stages: What is sent.
        recipient: The device that is away.
        users: Who is registered besides the recipient.
        own: The recipient's other devices, by name.
    """

    async def cast_on(homeserver: Homeserver) -> Cast:
        away = await homeserver.register(RECIPIENT, device_id=AWAY)
        await away.upload_keys(recipient)
        others = {name: await log_in(away, own[name]) for name in own}
        people = {RECIPIENT: away, **others}
        for name in users:
            people[name] = await homeserver.register(name, device_id=device_id(name))
        return Cast(homeserver, people, [away, *others.values()])

    async def play(cast: Cast) -> None:
        for stage in stages:
            await together(*map(cast.send, stage))

    say(f"Starting {len(kinds)} Synapses: {', '.join(kinds)}.")
    homeservers = [
        Homeserver(directory / name, module=module)
        for name, (module, _) in kinds.items()
    ]
    async with running(*homeservers):
        casts = await together(*map(cast_on, homeservers))
        messages = sum(len(lane) for stage in stages for lane in stage)
        say(f"Sending {messages:,} messages to each.")
        await together(*map(play, casts))
        say("Letting the device that was away catch up on each.")
        for cast, (_, is_tidy) in zip(casts, kinds.values()):
            await cast.settled(is_tidy)
        # One after the other: they are timed.
        for cast in casts:
            await cast.measure()
    return dict(zip(kinds, casts))
