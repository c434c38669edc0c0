"""Fuzz: `python -m tests.fuzz`, on all cores, until so many inputs were tried.

Half of the processes let atheris look for inputs that reach more of the code, which
takes three times as long for each, so that they try a quarter of all; the others draw
them at random. An input that fails is written to `tests/fuzz/corpus`,
where `make test` tries it again ever after.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"
INPUTS = 10_000_000
GUIDED = 0.25
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
            keep(data, error)
    return failed


def keep(data: bytes, error: BaseException) -> None:
    """Write down an input that fails."""
    file = CORPUS / hashlib.sha256(data).hexdigest()[:16]
    file.write_bytes(data)
    print(f"{file.name}: {error!r}", file=sys.stderr)  # noqa: T201 to whoever watches


def look_with_atheris(inputs: int) -> int:
    """Let atheris try inputs; return how many failed, at most one."""
    command = [sys.executable, "-m", "tests.fuzz.with_atheris"]
    options = [f"-runs={inputs}", f"-max_len={LONGEST}", f"-artifact_prefix={CORPUS}/"]
    quiet = ["-print_final_stats=0", "-verbosity=0"]
    done = subprocess.run([*command, *options, *quiet], check=False)  # noqa: S603 ours
    return int(done.returncode != 0)


def main() -> int:
    """Fuzz; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="how many to try")
    inputs = parser.parse_args().inputs
    cores = max(2, multiprocessing.cpu_count())
    guides = cores // 2
    guided_share = math.ceil(inputs * GUIDED / guides)
    share = math.ceil(inputs * (1 - GUIDED) / (cores - guides))
    began = time.monotonic()
    with multiprocessing.Pool(cores) as pool:
        guided = [
            pool.apply_async(look_with_atheris, (guided_share,)) for _ in range(guides)
        ]
        drawn = [
            pool.apply_async(try_at_random, (each, share))
            for each in range(cores - guides)
        ]
        failed = sum(each.get() for each in (*guided, *drawn))
    took = time.monotonic() - began
    tried = guides * guided_share + (cores - guides) * share
    print(f"{tried:,} inputs in {took:.0f} s, {failed} failed")  # noqa: T201 data
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
