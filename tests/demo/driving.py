"""Send the demonstration's traffic to homeservers, and measure what is left."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Callable, Iterable, Mapping, Sequence

import attrs
from twisted.internet.defer import CancelledError

from tests.demo.output.progress import Progress
from tests.demo.traffic import AWAY, RECIPIENT, Send, Traffic, device_id
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import ENCRYPTED
from tests.harness.clients.olm import OlmDevice
from tests.harness.databases.mailbox import rows_of
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.polling import become
from tests.harness.together import together

OK = 200

# Superseded rows are deleted in the background, a moment after others are stored.
TIDY_WITHIN_S = 5.0

# Says of a mailbox's rows whether the module has done all it does.
IsTidy = Callable[[Sequence[str]], bool]


@attrs.frozen
class Cast:
    """Who takes part, on one homeserver: senders by name, the recipient's devices."""

    senders: Mapping[str, Client]
    away: Client
    others: Sequence[Client]


@attrs.frozen
class Catchup:
    """What the recipient got when it came back.

    Attributes:
        messages: All to-device messages, in order.
        syncs: How many syncs it took to have the last Olm message.
        seconds: How long these took.
    """

    messages: tuple[dict[str, Any], ...]
    syncs: int
    seconds: float


@attrs.frozen
class Measured:
    """What was measured on one homeserver.

    Attributes:
        mailboxes: The JSON text of the queued rows of each of the recipient's
            devices, at rest and before it came back.
        failed: How many requests failed.
        metrics: All samples, before it came back.
        catchup: How the device that was away caught up.
    """

    mailboxes: Mapping[str, tuple[str, ...]]
    failed: int
    metrics: Mapping[str, float]
    catchup: Catchup


async def register(
    homeserver: Homeserver,
    recipient: OlmDevice,
    users: Iterable[str],
    own: Mapping[str, str],
) -> Cast:
    """Register users, and log in devices of the recipient's own by their names."""
    away = await homeserver.register(RECIPIENT, device_id=AWAY)
    await away.upload_keys(recipient)
    others = {
        name: await Client.login(homeserver.base_url, away.user_id, device_id=device)
        for name, device in own.items()
    }
    senders = {
        name: await homeserver.register(name, device_id=device_id(name))
        for name in users
    }
    return Cast({**others, **senders}, away, [*others.values()])


async def drive(
    homeservers: Mapping[Homeserver, IsTidy],
    casts: Sequence[Cast],
    traffic: Traffic,
    progress: Progress,
) -> list[Measured]:
    """Send everything to each homeserver, and measure what is left."""
    progress.total = len(casts) * (len(traffic.notices) + len(traffic.room_keys))
    failed = await together(*(play(traffic, cast, progress.sent) for cast in casts))
    progress.say("Letting the device that was away catch up on each.")
    for (homeserver, is_tidy), cast in zip(homeservers.items(), casts):
        await _settle(homeserver, cast, is_tidy)
    # One after the other: they are timed.
    return [
        await _measure(homeserver, cast, failures)
        for homeserver, cast, failures in zip(homeservers, casts, failed)
    ]


async def play(traffic: Traffic, cast: Cast, sent: Callable[[], None]) -> int:
    """Send everything, calling `sent` each time; return how many requests failed.

    Senders send at the same time, each its own notices one after the other. Room
    keys are sent between, so that their order is the same on every homeserver.
    """
    failed = 0
    for each in traffic.rounds:
        lanes = [_send_all(lane, cast, sent) for lane in each.lanes]
        failed += sum(await together(*lanes))
        failed += await _send_all(each.room_keys, cast, sent)
    return failed


async def _send_all(sends: Iterable[Send], cast: Cast, sent: Callable[[], None]) -> int:
    failed = 0
    for send in sends:
        messages = {cast.away.user_id: {send.device_id: send.content}}
        client = cast.senders[send.sender]
        try:
            status = await client.send_to_device(send.message_type, messages)
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 no answer, whatever the cause, is a failure
            status = 0
        failed += status != OK
        sent()
    return failed


async def _settle(homeserver: Homeserver, cast: Cast, is_tidy: IsTidy) -> None:
    """Wait until the module has tidied the mailboxes, or should have."""
    clients = (cast.away, *cast.others)
    await become(
        lambda: all(is_tidy(rows_of(homeserver, each)) for each in clients),
        TIDY_WITHIN_S,
    )


async def _measure(homeserver: Homeserver, cast: Cast, failed: int) -> Measured:
    clients = (cast.away, *cast.others)
    mailboxes = {each.device_id: rows_of(homeserver, each) for each in clients}
    metrics = await homeserver.metrics()
    return Measured(mailboxes, failed, metrics, await catch_up(cast.away))


async def catch_up(client: Client) -> Catchup:
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
            return Catchup(tuple(messages), *last_key)
        messages += new
