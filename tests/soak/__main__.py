"""Live the same random life on stock Synapse and with the module: `make soak`.

In the end every client knows the same on both, and what is missing with the module is
redundant. Exit code 0 if so, else 1.
"""

from __future__ import annotations

import argparse
import functools
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Iterable

from tests.demo.output import say, show
from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.stage import nothing_to_do
from tests.harness.waiting import pause, run, together
from tests.soak.comparing import compare
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import make_people
from tests.soak.soak import MAY_GROW, Soak

RULES = {
    "no_olm": True,
    "withheld": True,
    "key_requests": True,
    # Each is made once: one that is made again after a restart may be taken back
    # unheard, as `docs/rules.md` says.
    "secret_requests": "vanish",
    "verification_requests": True,
}
HERE, ABROAD, BRIDGED = 40, 8, 2
# The last deletion may still be under way when nothing waits any more.
LAST_WORK_S = 3.0
SHOWN = 20


async def soak(seconds: float, seed: int, directory: Path) -> int:
    people = make_people(HERE, ABROAD, BRIDGED)
    postgres = PostgresServer(directory / "postgres")
    lanes = (
        await Lane.make("stock", directory, None, postgres.database()),
        await Lane.make("module", directory, {"rules": RULES}, postgres.database()),
    )
    try:
        await together(*(lane.homeserver.start() for lane in lanes))
        await together(*(lane.settle(people) for lane in lanes))
        say(f"seed {seed}: {len(people)} people live for {seconds / 60:g} minutes")
        whole = Soak(seconds, Life(seed, people), lanes, postgres, Random(seed))  # noqa: S311
        await whole.live()
        return await outcome(whole)
    finally:
        await together(*(lane.stop() for lane in lanes))
        postgres.stop()


async def outcome(whole: Soak) -> int:
    """Let all come to rest, compare, and tell; return the exit code."""
    stock, module = whole.lanes
    await nothing_to_do(module.homeserver)
    await pause(LAST_WORK_S)
    left = [lane.rows() for lane in whole.lanes]
    await together(*(lane.finish(whole.life.people) for lane in whole.lanes))
    await whole.read_all()
    problems, missing = compare(whole.life, stock, module)
    held = {name: [_ends(lane.held[name]) for lane in whole.lanes] for name in MAY_GROW}
    for name, ((before, after), (first, last)) in held.items():
        if last - first > MAY_GROW[name] + max(0, after - before):
            problems.append(f"{name}: from {first:.0f} to {last:.0f}")
    took = [quantiles(lane.took(), n=100) for lane in whole.lanes]
    told: dict[str, Iterable[object]] = {
        "rows that waited in the end": left,
        "seconds to an answer, median": (each[49] for each in took),
        "99 of 100 within": (each[98] for each in took),
        "made again": (len(lane.patience.cut_off) for lane in whole.lanes),
    }
    for name, both in held.items():
        told[name] = (f"{first:.0f} to {last:.0f}" for first, last in both)
    for why, count in missing.items():
        told[f"missing: {why or 'LOST'}"] = 0, count
    names = "", "stock", "module"
    rows = [dict(zip(names, (name, *values))) for name, values in told.items()]
    lived = f"{whole.steps:,} steps, {len(whole.life.sent):,} of them requests"
    show("Soak", rows, f"{lived}, {whole.faults} faults")
    for problem in problems[:SHOWN]:
        say(f"WRONG: {problem:.1000}")
    return int(bool(problems))


def _ends(held: list[float]) -> tuple[float, float]:
    """Return the medians of the first and of the last fifth of the time."""
    fifth = len(held) // 5 + 1
    return median(held[:fifth]), median(held[-fifth:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=60, help="how long to live")
    parser.add_argument("--seed", type=int, help="to live an earlier life again")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    # PostgreSQL runs as another user where it is started by root.
    directory.chmod(0o755)
    code = run(functools.partial(soak, arguments.minutes * 60, seed, directory))
    if code:
        say(f"seed {seed}, exit code {code}; logs are in {directory}")
    else:
        shutil.rmtree(directory)
    sys.exit(code)
