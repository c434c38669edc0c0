"""The demonstration of notices: a stock Synapse beside one with the module."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import AsyncIterator, Mapping

from tests.demo import checks
from tests.demo.checks import Outcome
from tests.demo.driving import Measured, drive
from tests.demo.output import Progress, side_by_side
from tests.demo.traffic import SENDERS, TABLET, make_traffic
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
        found = {"stock": on_stock, "with module": on_module}
        yield Outcome(
            side_by_side({name: told(each) for name, each in found.items()}),
            [
                checks.one_of_each_pair({"with module": on_module}),
                checks.newest_of_each_pair(found, traffic.sends),
                *checks.as_on_stock(found, {"stock": 0, "with module": 1}),
            ],
            casts,
        )


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
