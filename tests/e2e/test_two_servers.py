"""Two Synapses that federate, with the module on either, both or none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Callable

from tests.demo.federation.checks import check
from tests.demo.federation.servers import cross, quartet
from tests.demo.federation.traffic import make_crossing
from tests.demo.output.progress import Progress
from tests.harness.homeservers.stage import NewDatabase
from tests.harness.reactor import in_reactor

# More than Synapse puts into one transaction.
CROSSING = make_crossing(rounds=14)


@in_reactor
async def test_another_server_gets_what_the_model_says(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> None:
    """And every other message byte for byte as without the module."""
    async with quartet(new_directory(), new_database) as four:
        outcomes = await cross(four, CROSSING, Progress(io.StringIO()))
    assert [each.verdict for each in check(CROSSING, outcomes) if not each.holds] == []
