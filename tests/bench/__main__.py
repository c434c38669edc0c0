"""Measure what the module costs and saves: `python -m tests.bench`.

The tables go to standard output, talk to standard error. Exits with 2 if something
could not be measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.bench import day, duplicates, hostile, sweep
from tests.demo.output import say
from tests.harness.waiting import run

# What is measured in this process comes before anything else runs on its account.
PARTS = {
    "memory": duplicates.memory,
    "storm": duplicates.storm,
    "hostile": hostile.measure,
    "day": day.measure,
    "scale": duplicates.scale,
    "sweep": sweep.measure,
}


async def bench(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="withheld-bench-") as directory:
        for part in options.only or PARTS:
            say(f"Measuring: {part}.")
            await PARTS[part](Path(directory) / part, options.quick)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__.partition("\n")[0]
    )
    how = "see that it runs; not for the numbers"
    parser.add_argument("--quick", action="store_true", help=how)
    how = "measure one part, may be repeated"
    parser.add_argument("--only", choices=PARTS, action="append", help=how)
    options = parser.parse_args()
    sys.exit(run(lambda: bench(options)))
