"""Run the benchmark: `python -m tests.bench`.

The tables go to standard output, talk to standard error. Exits with 0 if all targets
about counts are met, 1 if one is not, 2 if something could not be measured, 130 if it
was interrupted. Timings never fail the run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Sequence

import attrs

from tests.bench.alone import code, memory
from tests.bench.hostile import hostile
from tests.bench.report import Findings, Table, Target, failed, render, summary
from tests.bench.requests import day, depth, ordinary, storm
from tests.bench.sizes import FULL, QUICK, Sizes
from tests.bench.sweep import survey, sweep
from tests.harness.waiting import run

# What is timed in this process comes before anything else runs on its account.
PARTS = {
    "code": code.measure,
    "memory": memory.measure,
    "ordinary": ordinary.measure,
    "storm": storm.measure,
    "hostile": hostile.measure,
    "day": day.measure,
    "scale": depth.measure,
    "sweep": sweep.measure,
    "survey": survey.measure,
}
MET, NOT_MET = 0, 1


@attrs.frozen
class Options:
    parts: tuple[str, ...]
    sizes: Sizes


def parse(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Compare what the module costs and saves with stock Synapse.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="see that it runs; not for the numbers"
    )
    parser.add_argument(
        "--only",
        metavar="PART",
        choices=PARTS,
        action="append",
        help=f"measure one part, may be repeated: {', '.join(PARTS)}",
    )
    parsed = parser.parse_args(arguments)
    parts = tuple(part for part in PARTS if part in (parsed.only or PARTS))
    return Options(parts, QUICK if parsed.quick else FULL)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 that is what it is for


async def bench(options: Options) -> int:
    started = time.monotonic()
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="withheld-bench-") as directory:
        for part in options.parts:
            say(f"Measuring: {part}.")
            place = Path(directory) / part
            findings: Findings = await PARTS[part](place, options.sizes, say)
            targets += findings.targets
            for table in findings.tables:
                _show(table)
    _show(summary(targets))
    say(f"Done in {time.monotonic() - started:.0f} s.")
    return NOT_MET if failed(targets) else MET


def _show(table: Table) -> None:
    print(render(table) + "\n", flush=True)  # noqa: T201 data goes to standard output


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    sys.exit(run(lambda: bench(chosen)))
