"""Whether a client of a Synapse notices that a sweep runs beside it."""

from __future__ import annotations

import time
from statistics import median, quantiles

from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.bench.sweep.place import Place
from tests.harness.client import Client
from tests.harness.waiting import eventually

SYNCS = 200

# At most so much of what it takes without a sweep.
MOST = 1.2

_HOW = (
    f"{SYNCS} incremental syncs one after the other, of a client on the same Synapse, "
    "while the command runs on the same machine. What differs between the two without "
    "a sweep is noise."
)


async def measure(place: Place, sizes: Sizes) -> Findings:
    """Sync without a sweep, beside two, and without again."""
    client = await place.homeserver.register("reader")
    token = (await client.sync())["next_batch"]
    # What happens only the first time is none of the matter.
    await _syncs(client, token)
    alone = await _syncs(client, token)
    resting = await _beside(place, sizes, client, token)
    hurrying = await _beside(place, sizes, client, token, "--pause", "0")
    again = await _syncs(client, token)
    lines = [
        _line("none", alone, alone),
        _line("default pauses", resting, alone),
        _line("no pauses", hurrying, alone),
        _line("none, again", again, alone),
    ]
    header = ("sweep", "median ms", "95% ms", "median, ratio", "95%, ratio")
    table = Table(f"Syncs beside a sweep, {place.name}", header, lines, [_HOW])
    name = f"sync beside a sweep with its pauses, {place.name}, median"
    slower = median(resting) / median(alone)
    return Findings([table], [Target.most(name, slower, MOST)])


async def _beside(
    place: Place, sizes: Sizes, client: Client, token: str, *more: str
) -> list[float]:
    """Sync while the command sweeps, from its first batch on."""
    place.fill(sizes.backlog[-2], 90)
    noted = place.directory / "place.json"
    process = place.command("sweep", "--place", str(noted), *more)
    try:
        # A small table may be swept between two looks.
        begun = lambda: noted.exists() or process.poll() is not None  # noqa: E731 short
        await eventually(begun, expected=True)
        times = await _syncs(client, token)
        assert process.poll() in ((None, 0) if sizes.quick else (None,))
    finally:
        process.kill()
        process.communicate()
        noted.unlink(missing_ok=True)
    return times


async def _syncs(client: Client, token: str) -> list[float]:
    times = []
    for _ in range(SYNCS):
        started = time.perf_counter()
        await client.sync(token)
        times.append(1000 * (time.perf_counter() - started))
    return times


def _line(name: str, times: list[float], alone: list[float]) -> tuple[str, ...]:
    # The median, and what 95 of 100 stay below.
    told, without = (
        (median(each), quantiles(each, n=20)[-1]) for each in (times, alone)
    )
    return (name, *(f"{each:.1f}" for each in told), *map(ratio, told, without))
