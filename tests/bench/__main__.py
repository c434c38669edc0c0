"""Run the benchmark: `python -m tests.bench`.

The tables go to standard output, talk to standard error. Exits with 2 if something
could not be measured.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from pathlib import Path
from typing import Sequence

from tests.bench import code, day, hostile, scale, storm, sweep
from tests.bench.report import say
from tests.harness.waiting import run

# What is timed in this process comes before anything else runs on its account.
PARTS = {
    "code": code.measure,
    "memory": code.measure_memory,
    "storm": storm.measure,
    "hostile": hostile.measure,
    "day": day.measure,
    "scale": scale.measure,
    "sweep": sweep.measure,
}


async def bench(parts: Sequence[str], *, quick: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="withheld-bench-") as directory:
        for part in parts:
            say(f"Measuring: {part}.")
            await PARTS[part](Path(directory) / part, quick)
    return 0


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
    chosen = options.only or list(PARTS)
    sys.exit(run(functools.partial(bench, chosen, quick=options.quick)))
