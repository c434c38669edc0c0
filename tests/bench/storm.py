"""Storms of duplicates over 1, 8 and 32 connections: how many, and what each costs."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from statistics import median

from tests.bench.asking import answers
from tests.bench.lanes import Lane, lanes
from tests.demo.output import say, show
from tests.harness.messages import WITHHELD
from tests.harness.servers.stage import Two, two_on
from tests.harness.waiting import become

CONNECTIONS = (1, 8, 32)
OVER_WITHIN_S = 60.0

_STORMS = count()
_HOW = (
    "Medians of {} rounds, stock and module in turns, each of {:g} s, by a process of "
    "its own; of one request, Synapse's regular work included. "
    "Wanted: as many requests as on stock, one statement, a tenth of the WAL."
)


async def measure(directory: Path, quick: bool) -> None:
    rounds, seconds = (1, 1.0) if quick else (5, 3.0)
    rows = []
    async with lanes(directory) as both:
        kinds = [(lane, await two_on(lane.homeserver)) for lane in both]
        for kind in kinds:
            # What happens only the first time is none of the matter.
            await _storm(*kind, 8, 1.0)
        for connections in CONNECTIONS:
            storms = [
                [await _storm(*kind, connections, seconds) for kind in kinds]
                for _ in range(rounds)
            ]
            typical = ([*map(median, zip(*each))] for each in zip(*storms))
            (stock_rate, stock_wal, _), (rate, wal, of_module) = typical
            row = {
                "connections": connections,
                "requests/s, stock": stock_rate,
                "module": rate,
                "module : stock": rate / stock_rate,
                "module's statements": of_module,
                "WAL, module : stock": wal / stock_wal,
            }
            rows.append(row)
        assert len(kinds[1][1].mailbox()) == 1
    title = "A storm of duplicates of one pair"
    show(title, rows, _HOW.format(rounds, seconds))


async def _storm(
    lane: Lane, two: Two, connections: int, seconds: float
) -> tuple[float, float, float]:
    """Return the requests a second, and of one the WAL and the module's statements."""
    messages, told = {two.recipient.user_id: {"AWAY": two.notice()}}, []

    async def blow() -> int:
        async with lane.asked(
            f"/_matrix/client/v3/sendToDevice/{WITHHELD}/{next(_STORMS)}-%d",
            method="PUT",
            headers={"Authorization": f"Bearer {two.sender.access_token}"},
            body=json.dumps({"messages": messages}),
            connections=connections,
            seconds=seconds,
        ) as process:
            await become(lambda: not process.runs, seconds + OVER_WITHIN_S)
        told.extend(answers(process.output))
        return len(told)

    each = await lane.each(blow)
    assert {answer.status for answer in told} == {200}
    took_s = max(a.ended_s for a in told) - min(a.ended_s - a.took_s for a in told)
    rate = len(told) / took_s
    say(f"  {lane.name}, {connections} at once: {rate:.0f}/s")
    return rate, each.wal_bytes, each.of_module
