"""The demonstration, from starting two Synapses to comparing them."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Iterable, Mapping, Sequence

import attrs

from tests.demo import checks
from tests.demo.checks import Check, Pair
from tests.demo.driving import Cast, play, register_all
from tests.demo.measuring import Measured, measure, settle
from tests.demo.output.progress import Progress
from tests.demo.output.table import HEADER, aligned, make_rows
from tests.demo.traffic import (
    AWAY,
    TABLET,
    Send,
    Traffic,
    make_traffic,
    user_id,
)
from tests.harness.homeservers.homeserver import Homeserver, running
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.together import together


@attrs.frozen
class Outcome:
    """What a demonstration showed.

    Attributes:
        table: The table as text.
        checks: What has to hold.
        cast: Who took part on the homeserver with the module, if there is one.
    """

    table: str
    checks: tuple[Check, ...]
    cast: Cast | None = None


@asynccontextmanager
async def two_homeservers(
    directory: Path,
) -> AsyncIterator[tuple[Homeserver, Homeserver]]:
    """Start a stock Synapse and one with the module; stop them in the end."""
    stock, module = Homeserver(directory / "stock"), directory / "module"
    pair = (stock, Homeserver(module, module={}))
    async with running(*pair):
        yield pair


async def compare(
    stock: Homeserver,
    module: Homeserver,
    progress: Progress,
    *,
    markdown: bool,
) -> Outcome:
    """Drive both with the same traffic and compare what is left."""
    traffic = make_traffic(SERVER_NAME)
    notices, room_keys = len(traffic.notices), len(traffic.room_keys)
    casts = await together(
        *(register_all(each, traffic.recipient) for each in (stock, module))
    )
    progress.say(f"Sending {notices:,} notices and {room_keys} room keys to each.")
    progress.total = 2 * (notices + room_keys)
    failed = await together(*(play(traffic, cast, progress.sent) for cast in casts))
    progress.say("Letting the device that was away catch up on each.")
    await settle(module, casts[1].away, casts[1].tablet)
    on_stock, on_module = await measure_each((stock, module), casts, failed)
    return Outcome(
        aligned([HEADER, *make_rows(on_stock, on_module)], markdown=markdown),
        check(traffic, on_stock, on_module),
        casts[1],
    )


async def measure_each(
    homeservers: Sequence[Homeserver], casts: Sequence[Cast], failed: Sequence[int]
) -> list[Measured]:
    """Measure one after the other: they are timed."""
    return [
        await measure(homeserver, cast.away, cast.tablet, failures)
        for homeserver, cast, failures in zip(homeservers, casts, failed)
    ]


def as_delivered(sends: Iterable[Send]) -> list[dict[str, Any]]:
    """Return messages as their recipient gets them."""
    return [
        {
            "content": send.content,
            "sender": user_id(send.sender, SERVER_NAME),
            "type": send.message_type,
        }
        for send in sends
    ]


def check(traffic: Traffic, stock: Measured, module: Measured) -> tuple[Check, ...]:
    """Check all that has to hold."""
    room_keys = as_delivered(traffic.room_keys)
    return (
        checks.one_notice_per_pair(module.mailboxes),
        checks.newest_of_each_pair(module.mailboxes, last_keys(traffic)),
        checks.same_rows(stock.mailboxes[AWAY], module.mailboxes[AWAY], len(room_keys)),
        checks.same_delivery(
            stock.catchup.messages, module.catchup.messages, room_keys
        ),
        checks.no_failed_sends({"stock": stock.failed, "module": module.failed}),
        checks.module_acted(module.metrics),
    )


def last_keys(traffic: Traffic) -> Mapping[str, Mapping[Pair, str]]:
    """Return for each device which pairs sent it notices, and their last key."""
    keys: dict[str, dict[Pair, str]] = defaultdict(dict)
    for send in traffic.notices:
        sender = user_id(send.sender, SERVER_NAME)
        pair = checks.pair_of(sender, send.message_type, send.content)
        for device_id in (AWAY, TABLET) if send.device_id == "*" else (send.device_id,):
            keys[device_id][pair] = send.content["sender_key"]
    return keys
