"""Send the demonstration's traffic to homeservers, and measure what is left."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Callable, Iterable, Mapping, Sequence

import attrs
from twisted.internet.defer import CancelledError

from tests.demo.output import Progress
from tests.demo.traffic import AWAY, RECIPIENT, Send, Traffic, device_id
from tests.harness.client import Client
from tests.harness.messages import ENCRYPTED
from tests.harness.servers.homeserver import Homeserver, rows_of
from tests.harness.waiting import become, together

OK = 200

# Superseded rows are deleted in the background, a moment after others are stored.
TIDY_WITHIN_S = 5.0

# Says of a mailbox's rows whether the module has done all it does.
IsTidy = Callable[[Sequence[str]], bool]


@attrs.frozen
class Measured:
    """What was measured on one homeserver.

    Attributes:
        mailboxes: The JSON text of the queued rows of each of the recipient's
            devices, at rest and before it came back.
        failed: How many requests failed.
        metrics: All samples, before it came back.
        synced: The messages that the device that was away got when it came back.
        syncs: How many syncs it took to have the last Olm message.
        seconds: How long these took.
        waited: EDUs that waited for the homeserver while it was away.
    """

    mailboxes: Mapping[str, tuple[str, ...]]
    failed: int
    metrics: Mapping[str, float]
    synced: Sequence[dict[str, Any]]
    syncs: int
    seconds: float
    waited: Sequence[str] = ()

    @property
    def rows(self) -> list[str]:
        return [text for texts in self.mailboxes.values() for text in texts]


@attrs.define(eq=False)
class Cast:
    """Who takes part, on one homeserver.

    Attributes:
        people: Their clients by name, the recipient's too.
        devices: The recipient's devices, of which the first is away.
        sent: Is called after each request.
        failed: How many requests were not answered 200.
    """

    homeserver: Homeserver
    people: Mapping[str, Client]
    devices: Sequence[Client]
    sent: Callable[[], None]
    failed: int = attrs.field(default=0, init=False)

    async def play(self, traffic: Traffic) -> None:
        for stage in traffic.stages:
            await together(*map(self.send, stage))

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
            self.failed += status != OK
            self.sent()

    def mailboxes(self) -> dict[str, tuple[str, ...]]:
        return {each.device_id: rows_of(self.homeserver, each) for each in self.devices}

    async def settled(self, is_tidy: IsTidy) -> None:
        """Wait until the module has tidied the mailboxes, or should have."""
        await become(
            lambda: all(map(is_tidy, self.mailboxes().values())), TIDY_WITHIN_S
        )

    async def measure(self) -> Measured:
        mailboxes, metrics = self.mailboxes(), await self.homeserver.metrics()
        return Measured(
            mailboxes, self.failed, metrics, *await _catch_up(self.devices[0])
        )


async def drive(
    homeservers: Mapping[Homeserver, IsTidy],
    traffic: Traffic,
    progress: Progress,
    *,
    users: Iterable[str],
    own: Mapping[str, str],
) -> tuple[list[Cast], list[Measured]]:
    """Send everything to each homeserver, and measure what is left.

    Args:
        homeservers: Each, and how it is told that its module's work is done.
        traffic: What is sent.
        progress: Where to say how far this is.
        users: Who is to be registered besides the recipient.
        own: The recipient's devices besides the one that is away, by name.
    """
    progress.total = len(homeservers) * len(traffic.sends)
    casts = await together(
        *(_cast(each, traffic, progress, users, own) for each in homeservers)
    )
    notices = len(traffic.sends) - len(traffic.room_keys)
    progress.say(
        f"Sending {notices:,} messages and {len(traffic.room_keys)} room keys to each."
    )
    await together(*(cast.play(traffic) for cast in casts))
    progress.say("Letting the device that was away catch up on each.")
    for cast, is_tidy in zip(casts, homeservers.values()):
        await cast.settled(is_tidy)
    # One after the other: they are timed.
    return casts, [await cast.measure() for cast in casts]


async def _cast(
    homeserver: Homeserver,
    traffic: Traffic,
    progress: Progress,
    users: Iterable[str],
    own: Mapping[str, str],
) -> Cast:
    away = await homeserver.register(RECIPIENT, device_id=AWAY)
    await away.upload_keys(traffic.recipient)
    others = {
        name: await Client.login(homeserver.base_url, away.user_id, device_id=device)
        for name, device in own.items()
    }
    people = {
        name: await homeserver.register(name, device_id=device_id(name))
        for name in users
    }
    people = {RECIPIENT: away, **others, **people}
    return Cast(homeserver, people, [away, *others.values()], progress.sent)


async def _catch_up(client: Client) -> tuple[list[dict[str, Any]], int, float]:
    """Sync until nothing comes any more."""
    messages: list[dict[str, Any]] = []
    since: str | None = None
    syncs, last_key = 0, (0, 0.0)
    started = perf_counter()
    while True:
        answer = await client.sync(since)
        since = answer["next_batch"]
        syncs += 1
        new = answer.get("to_device", {}).get("events", [])
        if any(message["type"] == ENCRYPTED for message in new):
            last_key = (syncs, perf_counter() - started)
        if not new:
            return messages, *last_key
        messages += new
