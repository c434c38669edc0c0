"""Live the same random life on stock Synapse and with the module: `make soak`.

In the end every client knows the same on both, and what is missing with the module is
redundant. Exit code 0 if so, else 1.
"""

from __future__ import annotations

import argparse
import functools
import random
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.databases.postgres import PostgresServer
from tests.harness.homeservers.stage import to_do
from tests.harness.polling import pause
from tests.harness.running import run
from tests.harness.together import together
from tests.soak.comparing import Comparison, left_untidied
from tests.soak.faults import Faults
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import make_people
from tests.soak.resources import Held
from tests.soak.soak import Soak, say

MODULE = {
    "rules": {
        "no_olm": True,
        "withheld": True,
        "key_requests": True,
        # Each is made once: one that is made again after a restart may be taken back
        # unheard, as `docs/rules.md` says.
        "secret_requests": "vanish",
        "verification_requests": True,
    }
}
HERE, ABROAD, BRIDGED = 40, 8, 2
TIDY_WITHIN_S = 60.0
SHOWN = 20


async def soak(seconds: float, seed: int, directory: Path) -> int:
    """Live, compare, and tell the outcome; return the exit code."""
    people = make_people(HERE, ABROAD, BRIDGED)
    postgres = PostgresServer(directory / "postgres")
    lanes = (
        await Lane.make("stock", directory / "stock", None, postgres.database()),
        await Lane.make("module", directory / "module", MODULE, postgres.database()),
    )
    try:
        await together(*(lane.homeserver.start() for lane in lanes))
        await together(*(lane.settle(people) for lane in lanes))
        faults = Faults(lanes, postgres, random.Random(seed))  # noqa: S311 variety
        whole = Soak(seconds, Life(seed, people), lanes, faults)
        say(f"seed {seed}: {len(people)} people live for {seconds / 60:.0f} minutes")
        await whole.live()
        return await outcome(whole)
    finally:
        await together(*(lane.stop() for lane in lanes))
        postgres.stop()


async def outcome(whole: Soak) -> int:
    """Let all come to rest, compare, and tell."""
    stock, module = whole.lanes
    problems = []
    if not await is_tidy(module):
        problems.append("the module has not come to rest")
    comparison = Comparison(whole.life, stock, module)
    rows = [lane.rows() for lane in whole.lanes]
    problems += left_untidied(comparison)
    await together(*(lane.finish(whole.life.people) for lane in whole.lanes))
    await whole.read_all()
    comparison.compare()
    problems += comparison.problems + grown(whole)
    tell(whole, comparison, rows)
    for problem in problems[:SHOWN]:
        say(f"WRONG: {problem}")
    if len(problems) > SHOWN:
        say(f"WRONG: {len(problems) - SHOWN} more")
    return int(bool(problems))


async def is_tidy(module: Lane) -> bool:
    """Wait until nothing waits in the background; say whether it came to that."""
    until = time.monotonic() + TIDY_WITHIN_S
    while time.monotonic() < until:
        if await to_do(module.homeserver) == 0:
            # A deletion may still be out.
            await pause(2)
            return True
        await pause(0.5)
    return False


def held(whole: Soak) -> list[Held | None]:
    """Return what each homeserver held at the beginning and the end of quiet."""
    return [
        Held.between(whole.samples[lane.name], whole.mark_s, whole.quiet_until_s)
        for lane in whole.lanes
    ]


def grown(whole: Soak) -> list[str]:
    """Say what the homeserver with the module holds that it did not before."""
    stock, module = held(whole)
    if stock is None or module is None:
        return ["a homeserver ended by itself while it was quiet"]
    return module.problems(stock)


def tell(whole: Soak, comparison: Comparison, rows: list[int]) -> None:
    """Print the outcome as a table."""
    lines: list[tuple[object, ...]] = [("", "stock", "module")]
    given = [
        sum(len(each.given) for each in lane.histories.values()) for lane in whole.lanes
    ]
    lines.append(("messages given", *given))
    lines.append(("rows that waited in the end", *rows))
    for name, place in (("median", 0.5), ("99 in 100", 0.99)):
        took = [f"{_quantile(lane.took, place) * 1000:.0f} ms" for lane in whole.lanes]
        lines.append((f"a request took, {name}", *took))
    for name in ("mib", "files", "threads", "transactions", "waits", "failures"):
        told = [
            "-"
            if each is None
            else f"{getattr(each.first, name):.0f} to {getattr(each.last, name):.0f}"
            for each in held(whole)
        ]
        lines.append((f"{name} while it was quiet", *told))
    lines.append(("requests made again", *(len(lane.cut_off) for lane in whole.lanes)))
    for why, count in sorted(comparison.missing.items()):
        lines.append((f"missing: {why or 'LOST'}", "", count))
    for line in lines:
        print("{:<36}{:>16}{:>16}".format(*line))  # noqa: T201 data
    sent, befell = len(whole.life.sent), len(whole.befell)
    print(f"{whole.steps:,} steps, {sent:,} requests, {befell} faults")  # noqa: T201 data


def _quantile(numbers: list[float], place: float) -> float:
    return sorted(numbers)[int(len(numbers) * place)] if numbers else 0.0


def main() -> int:
    """Live as long as asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=60, help="how long to live")
    parser.add_argument("--seed", type=int, help="to live an earlier life again")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    directory.chmod(0o755)
    live = functools.partial(soak, arguments.minutes * 60, seed, directory)
    code = run(live)
    if code:
        say(f"seed {seed}, exit code {code}; {directory} has the logs")
    else:
        shutil.rmtree(directory)
    return code


if __name__ == "__main__":
    sys.exit(main())
