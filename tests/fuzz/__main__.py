"""Fuzz: `python -m tests.fuzz`, on all cores, until so many inputs were tried.

An input that fails is written to `tests/fuzz/corpus`, where `make test` tries it again
ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import random
import sys
from pathlib import Path

from tests.fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"
INPUTS = 10_000_000
LONGEST = 96


def try_at_random(inputs: int) -> int:
    target, chance, failed = Target(), random.SystemRandom(), 0
    for _ in range(inputs):
        data = chance.randbytes(chance.randrange(LONGEST))
        try:
            target.run(data)
        except Exception as error:  # noqa: BLE001 that is what is looked for
            failed += 1
            file = CORPUS / hashlib.sha256(data).hexdigest()[:16]
            file.write_bytes(data)
            print(f"{file.name}: {error!r}", file=sys.stderr)  # noqa: T201 for watchers
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many to try")
    cores = multiprocessing.cpu_count()
    share = -(-parser.parse_args().inputs // cores)
    with multiprocessing.Pool(cores) as pool:
        failed = sum(pool.map(try_at_random, [share] * cores))
    print(f"{cores * share:,} inputs, {failed} failed")  # noqa: T201 data
    sys.exit(failed > 0)
