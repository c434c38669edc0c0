"""Send the demonstration's traffic to homeservers, and measure what is left."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any, Callable, Iterable, Mapping, Sequence

import attrs

from tests.demo.output import say
from tests.harness.client import Client
from tests.harness.messages import ENCRYPTED, OlmDevice
from tests.harness.samples import ACTIVE, total
from tests.harness.servers.homeserver import Homeserver, running
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.waiting import pause, together

SEED = 20
RECIPIENT, FRIEND = "recipient", "friend"
AWAY, TABLET = "AWAY", "TABLET"

# The last deletion may still be under way when nothing waits any more.
LAST_WORK_S = 3.0

_DECISION = re.compile(
    r'synapse_withheld_decisions_total\{decision="(?P<decision>\w+)",'
    r'queue="inbox",reason="(?P<reason>\w+)",rule="\w+"\}'
)


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
    """Who takes part, and what is measured in the end."""

    homeservers: Sequence[Homeserver]  # the first is the recipient's
    people: Mapping[str, Client]  # by name, the recipient too
    devices: Sequence[Client]  # the recipient's, of which the first is away
    failed: int = 0  # requests that were not answered 200
    # Queued rows of each device before the first came back, people by their names; how
    # many bytes these are as they are stored; what the homeservers counted by then.
    mailboxes: dict[str, list[str]] = attrs.Factory(dict)
    size: int = 0
    metrics: Counter[str] = attrs.Factory(Counter)
    # What the first device got when it came back, how many syncs it took to have the
    # last Olm message, and how long these took.
    synced: list[dict[str, Any]] = attrs.Factory(list)
    syncs: int = 0
    seconds: float = 0.0

    async def send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            messages = {self.people[send.to].user_id: dict(send.messages)}
            ask = self.people[send.sender].send_to_device
            self.failed += await ask(send.message_type, messages) != 200

    async def measure(self) -> None:
        for homeserver in self.homeservers:
            self.metrics.update(await homeserver.metrics())
        for each in self.devices:
            rows = self.homeservers[0].texts(each)
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

    def told(self) -> dict[str, str]:
        """Return what was measured, with the labels of the table."""
        # Of all devices, as the module's metrics count them: so the numbers add up.
        numbers = {
            "rows in the mailboxes": f"{len(self.rows()):,}",
            "bytes in the mailboxes": f"{self.size:,}",
            "syncs until the last room key": f"{self.syncs:,}",
            "time until the last room key": f"{self.seconds * 1000:,.0f} ms",
            "requests that failed": f"{self.failed:,}",
        }
        if ACTIVE not in self.metrics:
            return numbers
        for name, value in sorted(self.metrics.items()):
            # All of them are there from the start.
            if value and (found := _DECISION.fullmatch(name)):
                label = f"decisions: {found['decision']}, {found['reason']}"
                numbers[label] = f"{value:,.0f}"
        return {
            **numbers,
            "superseded rows deleted": f"{self.sum('tidied_rows_total'):,}",
            "bytes collapsed": f"{self.sum('collapsed_bytes_total'):,}",
            "failures of the module": f"{self.sum('failures_total'):,}",
            "pairs tracked": f"{self.sum('tracked_pairs'):,}",
        }

    def _named(self, text: str) -> str:
        """Return JSON with names for user IDs: so those of two servers compare."""
        for name, client in self.people.items():
            text = text.replace(f'"{client.user_id}"', f'"{name}"')
        return text


def device_id(name: str) -> str:
    return f"{name.upper().replace('_', '')}DEV"


async def settled(homeservers: Iterable[Homeserver]) -> None:
    """Wait until the module has deleted what is superseded."""
    await together(*(each.nothing_to_do() for each in homeservers))
    await pause(LAST_WORK_S)


async def drive(
    directory: Path,
    kinds: Mapping[str, Any],
    make_stages: Callable[[OlmDevice, random.Random], Stages],
    *,
    users: Iterable[str],
    own: Mapping[str, str],
) -> dict[str, Cast]:
    """Send everything to a homeserver of each kind, and measure what is left.

    Kinds are the module's configurations, `None` without it. Beside the recipient's
    device that is away there are `users`, and its own other devices, by name.
    """
    recipient = OlmDevice(f"@{RECIPIENT}:{SERVER_NAME}", AWAY)
    stages = make_stages(recipient, random.Random(SEED))  # noqa: S311 variety alone

    async def cast_on(homeserver: Homeserver) -> Cast:
        away = await homeserver.register(RECIPIENT, device_id=AWAY)
        await away.upload_keys(recipient)
        others = {name: await away.log_in(own[name]) for name in own}
        people = {RECIPIENT: away, **others}
        for name in users:
            people[name] = await homeserver.register(name, device_id=device_id(name))
        return Cast([homeserver], people, [away, *others.values()])

    say(f"Starting {len(kinds)} Synapses: {', '.join(kinds)}.")
    homeservers = [
        Homeserver(directory / name, module=module) for name, module in kinds.items()
    ]
    async with running(*homeservers):
        casts = await together(*map(cast_on, homeservers))
        messages = sum(len(lane) for stage in stages for lane in stage)
        say(f"Sending {messages:,} messages to each.")
        for stage in stages:
            await together(*(cast.send(lane) for cast in casts for lane in stage))
        await settled(homeservers)
        say("Letting the device that was away catch up on each.")
        # One after the other: they are timed.
        for cast in casts:
            await cast.measure()
    return dict(zip(kinds, casts))
