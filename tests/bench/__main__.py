"""Run the benchmark: `python -m tests.bench`.

The tables go to standard output, talk to standard error. Exits with 0 if all targets
about counts are met, 1 if one is not, 2 if something could not be measured, 130 if it
was interrupted. Timings never fail the run.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path
from typing import Sequence

from tests.bench import code, day, depth, hostile, storm, survey, sweep
from tests.bench.report import Target, say, summary
from tests.bench.sizes import FULL, QUICK, Sizes
from tests.harness.waiting import run

# What is timed in this process comes before anything else runs on its account.
PARTS = {
    "code": code.measure,
    "memory": code.measure_memory,
    "storm": storm.measure,
    "hostile": hostile.measure,
    "day": day.measure,
    "scale": depth.measure,
    "sweep": sweep.measure,
    "survey": survey.measure,
}


async def bench(parts: Sequence[str], sizes: Sizes) -> int:
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="withheld-bench-") as directory:
        for part in parts:
            say(f"Measuring: {part}.")
            for found in await PARTS[part](Path(directory) / part, sizes):
                if isinstance(found, Target):
                    targets.append(found)
                else:
                    print(found, flush=True)  # noqa: T201 data
    print(summary(targets), flush=True)  # noqa: T201 data
    return int(any(each.binding and not each.met for each in targets))


if __name__ == "__main__":
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
    options = parser.parse_args()
    chosen = [part for part in PARTS if part in (options.only or PARTS)]
    sizes = QUICK if options.quick else FULL
    sys.exit(run(functools.partial(bench, chosen, sizes)))
