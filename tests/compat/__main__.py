"""Run the end-to-end tests on other versions of Synapse: `python -m tests.compat`.

Without a version: each that changed what the module wraps, the oldest among them, and
the newest. `--short` runs a few of the tests on every release and release candidate;
with `--page` on those that have not passed there yet, and writes what passed into
docs/compatibility.md. `--fast` runs the unit and model tests on every Python with the
newest Synapse that there is for it. `--record` writes down the shapes of the installed
version. Prints a line for the table of each run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from packaging.version import Version

from tests.compat import releases
from tests.compat.environments import END_TO_END, FAST, NEWEST, OLDEST, SHORT, run

# All that the module is for.
PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13"]


def released() -> list[str]:
    """Return the versions of Synapse that the registry has, newest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--pre"]
    said = subprocess.check_output([*command, "matrix-synapse"], text=True)  # noqa: S603
    (line,) = [each for each in said.splitlines() if "Available" in each]
    versions = line.partition(": ")[2].split(", ")
    return [each for each in versions if Version(each) >= Version(OLDEST)]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.compat", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--fast", action="store_true", help="unit and model tests")
    parser.add_argument("--short", action="store_true", help="a few, every release")
    parser.add_argument("--record", action="store_true", help="look at this version")
    parser.add_argument("--page", action="store_true", help="write the table")
    parser.add_argument("--only", default="", help="which tests, as for pytest's -k")
    given = parser.parse_args()
    if given.record:
        releases.record()
        return 0
    pythons = PYTHONS if given.fast else ["3.11"]
    if given.short:
        known = releases.passed(releases.PAGE.read_text()) if given.page else []
        tests, versions = SHORT, [each for each in released() if each not in known]
    elif given.fast:
        tests, versions = FAST, [NEWEST]
    else:
        changed = {since for known in releases.recorded().values() for since in known}
        tests, versions = END_TO_END, [*sorted(changed, key=Version), NEWEST]
    if given.only:
        tests = (*tests, "-k", given.only)
    is_good = True
    for version in given.versions or versions:
        for python in pythons:
            done = run(version, python, tests)
            print(f"| {' | '.join(done)} | {releases.today()} |", flush=True)  # noqa: T201 data
            if given.short and given.page and done.counts:
                releases.write(done.synapse, has_passed=done.outcome == "passed")
            # Nobody has every Python.
            is_missed = given.fast and done.outcome.startswith("no python")
            is_good &= is_missed or done.outcome == "passed"
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
