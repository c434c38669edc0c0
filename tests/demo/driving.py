"""Send the demonstration's traffic to a homeserver."""

from __future__ import annotations

from typing import Callable, Iterable, Mapping

import attrs
from twisted.internet.defer import CancelledError

from tests.demo.traffic import (
    AWAY,
    RECIPIENT,
    SENDERS,
    TABLET,
    Send,
    Traffic,
    device_id,
)
from tests.harness.clients.matrix import Client
from tests.harness.clients.olm import OlmDevice
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.together import together

OK = 200


@attrs.frozen
class Cast:
    """Who takes part, on one homeserver."""

    senders: Mapping[str, Client]
    away: Client
    tablet: Client


async def register_all(homeserver: Homeserver, recipient: OlmDevice) -> Cast:
    """Register the users, log their devices in and upload the keys of one."""
    away = await homeserver.register(RECIPIENT, device_id=AWAY)
    await away.upload_keys(recipient)
    tablet = await Client.login(homeserver.base_url, away.user_id, device_id=TABLET)
    senders = {
        name: await homeserver.register(name, device_id=device_id(name))
        for name in SENDERS
    }
    return Cast(senders, away, tablet)


async def play(traffic: Traffic, cast: Cast, sent: Callable[[], None]) -> int:
    """Send everything, calling `sent` each time; return how many requests failed.

    Senders send at the same time, each its own notices one after the other. Room
    keys are sent between, so that their order is the same on every homeserver.
    """
    failed = 0
    for each in traffic.rounds:
        lanes = [send_all(lane, cast, sent) for lane in each.lanes]
        failed += sum(await together(*lanes))
        failed += await send_all(each.room_keys, cast, sent)
    return failed


async def send_all(sends: Iterable[Send], cast: Cast, sent: Callable[[], None]) -> int:
    """Send messages one after the other; return how many requests failed."""
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
