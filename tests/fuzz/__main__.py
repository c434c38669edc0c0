"""Fuzz: `python -m tests.fuzz`, on all cores, until so many inputs were tried.

An input that fails is written to `tests/fuzz/corpus`, where `make test` tries it again
ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import multiprocessing
import random
import sys
import time
from pathlib import Path

from tests.fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"
INPUTS = 10_000_000
LONGEST = 96


def try_at_random(number: int, inputs: int) -> int:
    """Try inputs that are drawn at random; return how many failed."""
    target = Target()
    chance = random.Random(f"{number} {time.time_ns()}")  # noqa: S311 no secret
    failed = 0
    for _ in range(inputs):
        data = chance.randbytes(chance.randrange(LONGEST))
        try:
            target.check_time(data)
        except Exception as error:  # noqa: BLE001 that is what is looked for
            failed += 1
            file = CORPUS / hashlib.sha256(data).hexdigest()[:16]
            file.write_bytes(data)
            print(f"{file.name}: {error!r}", file=sys.stderr)  # noqa: T201 for watchers
    return failed


def main() -> int:
    """Fuzz; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many to try")
    cores = multiprocessing.cpu_count()
    share = math.ceil(parser.parse_args().inputs / cores)
    began = time.monotonic()
    with multiprocessing.Pool(cores) as pool:
        failed = sum(pool.starmap(try_at_random, [(n, share) for n in range(cores)]))
    took = time.monotonic() - began
    print(f"{cores * share:,} inputs in {took:.0f} s, {failed} failed")  # noqa: T201 data
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
