"""Fuzz: `python -m tests.fuzz`, on all cores, until so many inputs were tried."""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys

from tests.fuzz.target import put_through

INPUTS = 1_000_000


def fails(seed: int) -> bool:
    """Put an input through; say which it was where that fails."""
    try:
        put_through(random.Random(seed))  # noqa: S311 the same for the same seed
    except Exception as error:  # noqa: BLE001 that is what is looked for
        print(f"seed {seed}: {error!r}", file=sys.stderr)  # noqa: T201 for watchers
        return True
    return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many to try")
    parser.add_argument("--seed", type=int, help="the first; by default, any")
    args = parser.parse_args()
    first = random.SystemRandom().getrandbits(48) if args.seed is None else args.seed
    seeds = range(first, first + args.inputs)
    with multiprocessing.Pool() as pool:
        failed = sum(pool.imap_unordered(fails, seeds, chunksize=1000))
    print(f"{args.inputs:,} inputs, {failed} failed")  # noqa: T201 data
    sys.exit(failed > 0)
