"""The demonstration of requests, with few of them."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Callable

from tests.demo.output.progress import Progress
from tests.demo.requests import (
    ASKERS,
    KEPT_EVERY,
    ROOM_KEYS,
    TIMES,
    asked_in_the_end,
    compare_requests,
    make_plan,
)
from tests.harness.reactor import in_reactor

SESSIONS = 5


def test_there_are_ten_thousand_requests() -> None:
    """Of each device the same number, and a fifth is never taken back."""
    plan = make_plan()
    actions = Counter(send.content["action"] for lane in plan.lanes for send in lane)

    assert (10_000, ROOM_KEYS) == (plan.count - ROOM_KEYS, len(plan.room_keys))
    assert {"request": 9200, "request_cancellation": 800} == actions


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


def test_what_is_asked_for_in_the_end_is_what_was_not_taken_back() -> None:
    """Whatever came before."""
    messages = [
        {"type": send.message_type, "content": send.content}
        for lane in make_plan(SESSIONS).lanes
        for send in lane
    ]
    asked = asked_in_the_end(messages)

    assert SESSIONS // KEPT_EVERY * len(ASKERS) == len(asked)
    assert {} == asked_in_the_end(
        [each for each in messages if "body" not in json.dumps(each)]
    )
