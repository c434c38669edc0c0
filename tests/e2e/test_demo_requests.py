"""The demonstration of requests, with few of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Callable

from tests.demo.output.progress import Progress
from tests.demo.requests import (
    ASKERS,
    KEPT_EVERY,
    ROOM_KEYS,
    TIMES,
    compare_requests,
)
from tests.harness.reactor import in_reactor

SESSIONS = 5


@in_reactor
async def test_a_device_is_asked_for_the_same_with_the_rule(
    new_directory: Callable[[], Path],
) -> None:
    """And one message is left of each request, or none of what was taken back."""
    outcome = await compare_requests(
        new_directory(), Progress(io.StringIO()), markdown=False, sessions=SESSIONS
    )

    assert [] == [check.verdict for check in outcome.checks if not check.holds]
    first, *_ = (line for line in outcome.table.splitlines() if "rows in" in line)
    sent = len(ASKERS) * SESSIONS
    kept = sent // KEPT_EVERY
    assert [each + ROOM_KEYS for each in (TIMES * sent, sent, kept)] == [
        int(number) for number in first.split()[-3:]
    ]
