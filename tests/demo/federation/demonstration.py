"""The demonstration with servers that federate, one of which is away for a while."""

from __future__ import annotations

from pathlib import Path

import attrs

from tests.demo.checks import Check
from tests.demo.federation.checks import check, make_table
from tests.demo.federation.servers import cross, quartet
from tests.demo.federation.traffic import make_crossing
from tests.demo.output.progress import Progress


@attrs.frozen
class Abroad:
    """What the demonstration showed.

    Attributes:
        table: The table as text.
        checks: What has to hold.
    """

    table: str
    checks: tuple[Check, ...]


async def federate(directory: Path, progress: Progress, *, markdown: bool) -> Abroad:
    """Send between servers in all placements of the module, and compare them."""
    progress.say("Starting four Synapses that federate, two of them with the module.")
    crossing = make_crossing()
    async with quartet(directory) as four:
        outcomes = await cross(four, crossing, progress)
    return Abroad(make_table(outcomes, markdown=markdown), check(crossing, outcomes))
