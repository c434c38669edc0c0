"""Storms of duplicates over 1, 8 and 32 connections: how many, and what each costs."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.bench.asking import Answer, answers
from tests.bench.lanes import Lane, two_lanes
from tests.bench.report import ratio, say, show
from tests.harness.messages import WITHHELD
from tests.harness.servers.stage import Two, two_on
from tests.harness.waiting import become

CONNECTIONS = (1, 8, 32)
OVER_WITHIN_S = 60.0

_STORMS = count()
_HOW = (
    "Medians of {} rounds, stock and module in turns, each of {:g} s, by a process of "
    "its own; of one request, Synapse's regular work included. 'empty': a request "
    "without any message, on stock. Processor: of Synapse and its database. Wanted: as "
    "many requests as on stock, one statement, a tenth of the WAL."
)


class Storm(NamedTuple):
    """How many requests a second were answered, and what one took."""

    rate: float
    cpu_s: float
    wal_bytes: float
    statements: float
    of_module: float


async def measure(directory: Path, quick: bool) -> None:
    rounds, seconds = (1, 1.0) if quick else (5, 3.0)
    for on_sqlite in (True, False):
        async with two_lanes(directory, on_sqlite=on_sqlite) as lanes:
            twos = [await two_on(lane.homeserver) for lane in lanes]
            notices = [{two.recipient.user_id: {"AWAY": two.notice()}} for two in twos]
            empty: tuple[Lane, Two, Any] = (lanes[0], twos[0], {})
            kinds = [empty, *zip(lanes, twos, notices)]
            for kind in kinds:
                await _storm(*kind, 8, 1.0)
            rows = []
            for connections in CONNECTIONS:
                storms = [
                    [await _storm(*kind, connections, seconds) for kind in kinds]
                    for _ in range(rounds)
                ]
                typical = (Storm(*map(median, zip(*each))) for each in zip(*storms))
                rows.append(_row(connections, *typical))
            assert len(twos[1].mailbox()) == 1
            title = f"A storm of duplicates of one pair on {lanes[0].driver}"
            show(title, rows, _HOW.format(rounds, seconds))


async def _storm(
    lane: Lane, two: Two, messages: dict[str, Any], connections: int, seconds: float
) -> Storm:
    told: list[Answer] = []

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
    took = max(a.started + a.took for a in told) - min(a.started for a in told)
    say(f"  {lane.name}, {connections} at once: {len(told) / took:.0f}/s")
    return Storm(len(told) / took, *each)


def _row(
    connections: int, empty: Storm, stock: Storm, module: Storm
) -> dict[str, object]:
    return {
        "connections": connections,
        "requests/s, stock": stock.rate,
        "module": module.rate,
        "module : stock": ratio(module.rate, stock.rate),
        "module's statements": module.of_module,
        "WAL, module : stock": ratio(module.wal_bytes, stock.wal_bytes),
        "processor ms, empty": 1000 * empty.cpu_s,
        "ms, stock": 1000 * stock.cpu_s,
        "ms, module": 1000 * module.cpu_s,
    }
