"""The demonstration of notices: a stock Synapse beside one with the module."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Iterable, Mapping

from tests.demo import checks
from tests.demo.driving import Measured, Outcome, drive
from tests.demo.output import Progress, side_by_side
from tests.demo.traffic import SENDERS, TABLET, Send, make_traffic, user_id
from tests.harness.messages import make_message
from tests.harness.samples import ACTIVE, FAILURES, TIDIED, total
from tests.harness.servers.homeserver import Homeserver, running

DECISION = re.compile(
    r'synapse_withheld_decisions_total\{decision="(?P<decision>\w+)",'
    r'queue="inbox",reason="(?P<reason>\w+)",rule="\w+"\}'
)
COLLAPSED_BYTES = "synapse_withheld_collapsed_bytes_total"
TRACKED_PAIRS = "synapse_withheld_tracked_pairs"


@asynccontextmanager
async def compare_notices(
    directory: Path, progress: Progress
) -> AsyncIterator[Outcome]:
    """Drive both with the same traffic and compare what is left."""
    progress.say("Starting a stock Synapse and one with the module.")
    stock = Homeserver(directory / "stock")
    module = Homeserver(directory / "module", module={})
    traffic = make_traffic()
    tidy = {stock: lambda _: True, module: lambda rows: not checks.copies(rows)}
    async with running(stock, module):
        casts, (on_stock, on_module) = await drive(
            tidy, traffic, progress, users=SENDERS, own={TABLET: TABLET}
        )
        both = {"stock": on_stock, "with module": on_module}
        yield Outcome(
            side_by_side({name: told(each) for name, each in both.items()}),
            (
                checks.one_notice_per_pair(on_module.mailboxes),
                checks.newest_of_each_pair(on_module.mailboxes, traffic.sends),
                checks.same_delivery(
                    as_delivered(traffic.room_keys),
                    {name: each.synced for name, each in both.items()},
                ),
                checks.no_failed_sends(
                    {name: each.failed for name, each in both.items()}
                ),
                checks.module_acted(on_module.metrics),
            ),
            casts,
        )


def as_delivered(sends: Iterable[Send]) -> list[dict[str, Any]]:
    """Return messages to one device as their recipient gets them."""
    return [
        make_message(user_id(send.sender), content, send.message_type)
        for send in sends
        for content in send.messages.values()
    ]


def told(one: Measured) -> dict[str, str]:
    """Return what was measured on one homeserver, with the labels of the table."""
    # Of all devices, as the module's metrics count them: so the numbers add up.
    numbers = {
        "rows in the mailboxes": f"{len(one.rows):,}",
        "bytes in the mailboxes": f"{sum(len(row.encode()) for row in one.rows):,}",
        "syncs until the last room key": f"{one.syncs:,}",
        "time until the last room key": f"{one.seconds * 1000:,.0f} ms",
        "requests that failed": f"{one.failed:,}",
    }
    if ACTIVE not in one.metrics:
        return numbers
    return {**numbers, **{label: f"{n:,.0f}" for label, n in _of(one.metrics).items()}}


def _of(metrics: Mapping[str, float]) -> dict[str, float]:
    decisions = {
        f"decisions: {found['decision']}, {found['reason']}": value
        for name, value in sorted(metrics.items())
        # All of them are there from the start.
        if value and (found := DECISION.fullmatch(name))
    }
    return {
        **decisions,
        "superseded rows deleted": total(metrics, TIDIED),
        "bytes collapsed": total(metrics, COLLAPSED_BYTES),
        "failures of the module": total(metrics, FAILURES),
        "pairs tracked": total(metrics, TRACKED_PAIRS),
    }
