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
from typing import Iterable

from tests.harness.servers.postgres import PostgresServer
from tests.harness.servers.stage import nothing_to_do
from tests.harness.waiting import pause, run, together
from tests.soak.comparing import Comparison
from tests.soak.ending import finish
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import make_people
from tests.soak.resources import MAY_GROW, Held
from tests.soak.soak import Soak, say

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
    comparison = Comparison(whole.life, stock, module)
    comparison.find_untidied()
    left = [lane.rows() for lane in whole.lanes]
    await together(*(finish(lane, whole.life.people) for lane in whole.lanes))
    await whole.read_all()
    comparison.compare()
    held = [Held(whole.samples[lane.name], *whole.quiet_s) for lane in whole.lanes]
    problems = [*comparison.problems, *held[1].problems(held[0])]
    tell(whole, comparison, left, held)
    for problem in problems[:SHOWN]:
        say(f"WRONG: {problem:.1000}")
    if len(problems) > SHOWN:
        say(f"WRONG: {len(problems) - SHOWN} more")
    return int(bool(problems))


def tell(
    whole: Soak, comparison: Comparison, left: list[int], held: list[Held]
) -> None:
    lanes = whole.lanes
    rows: dict[str, Iterable[object]] = {
        "": (lane.name for lane in lanes),
        "messages given": (lane.given() for lane in lanes),
        "rows that waited in the end": left,
        "answer to a request, median": (lane.answered_within(0.5) for lane in lanes),
        "99 of 100 within": (lane.answered_within(0.99) for lane in lanes),
        **{name: [each.told(name) for each in held] for name in MAY_GROW},
        "made again": (len(lane.patience.cut_off) for lane in lanes),
    }
    for why, count in sorted(comparison.missing.items()):
        rows[f"missing: {why or 'LOST'}"] = 0, count
    for name, (stock, module) in rows.items():
        print(f"{name:<36}{stock!s:>16}{module!s:>16}")  # noqa: T201 data
    lived = f"{whole.steps:,} steps, {len(whole.life.sent):,} requests"
    print(f"{lived}, {whole.met} faults")  # noqa: T201 data


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
