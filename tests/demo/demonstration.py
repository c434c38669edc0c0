"""The demonstration, from starting two Synapses to comparing them."""

from __future__ import annotations

from collections import defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Iterable, Mapping

import attrs

from tests.demo import checks
from tests.demo.checks import Check, Pair
from tests.demo.driving import Cast, Measured, drive, register
from tests.demo.output.progress import Progress
from tests.demo.output.table import HEADER, aligned, make_rows
from tests.demo.traffic import (
    AWAY,
    SENDERS,
    TABLET,
    Send,
    Traffic,
    make_traffic,
    user_id,
)
from tests.harness.homeservers.homeserver import Homeserver, running
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
    stock = Homeserver(directory / "stock")
    module = Homeserver(directory / "module", module={})
    async with running(stock, module):
        yield stock, module


async def compare(
    stock: Homeserver, module: Homeserver, progress: Progress, *, markdown: bool
) -> Outcome:
    """Drive both with the same traffic and compare what is left."""
    traffic, own = make_traffic(), {TABLET: TABLET}
    notices, room_keys = len(traffic.notices), len(traffic.room_keys)
    casts = await together(
        *(register(each, traffic.recipient, SENDERS, own) for each in (stock, module))
    )
    progress.say(f"Sending {notices:,} notices and {room_keys} room keys to each.")
    tidy = {stock: lambda _: True, module: lambda rows: not checks.copies(rows)}
    on_stock, on_module = await drive(tidy, casts, traffic, progress)
    return Outcome(
        aligned([HEADER, *make_rows(on_stock, on_module)], markdown=markdown),
        _check(traffic, on_stock, on_module),
        casts[1],
    )


def as_delivered(sends: Iterable[Send]) -> list[dict[str, Any]]:
    """Return messages as their recipient gets them."""
    return [
        {
            "content": send.content,
            "sender": user_id(send.sender),
            "type": send.message_type,
        }
        for send in sends
    ]


def _check(traffic: Traffic, stock: Measured, module: Measured) -> tuple[Check, ...]:
    both = {"stock": stock, "with the module": module}
    return (
        checks.one_notice_per_pair(module.mailboxes),
        checks.newest_of_each_pair(module.mailboxes, _last_keys(traffic)),
        checks.same_delivery(
            as_delivered(traffic.room_keys),
            {name: each.catchup.messages for name, each in both.items()},
        ),
        checks.no_failed_sends({name: each.failed for name, each in both.items()}),
        checks.module_acted(module.metrics),
    )


def _last_keys(traffic: Traffic) -> Mapping[str, Mapping[Pair, str]]:
    """Return for each device which pairs sent it notices, and their last key."""
    keys: dict[str, dict[Pair, str]] = defaultdict(dict)
    for send in traffic.notices:
        sender = user_id(send.sender)
        pair = checks.pair_of(sender, send.message_type, send.content)
        for device_id in (AWAY, TABLET) if send.device_id == "*" else (send.device_id,):
            keys[device_id][pair] = send.content["sender_key"]
    return keys
