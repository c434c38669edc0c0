"""Two Synapses that federate, with the module on either, both or none."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from tests.demo.federation import federate
from tests.demo.output import Progress
from tests.harness.reactor import in_reactor


@in_reactor
async def test_another_server_gets_one_notice_per_pair(
    new_directory: Callable[[], Path],
) -> None:
    """And every other message byte for byte as without the module."""
    async with federate(new_directory(), Progress()) as outcome:
        assert [] == [each.verdict for each in outcome.checks if not each.holds]
