"""Run the end-to-end tests on other versions of Synapse: `python -m tests.compat`.

Without a version: the oldest, each that changed what the module wraps, the newest, and
the newest release candidate, which may fail. `--short` runs a few of the tests on every
release and release candidate, `--fast` the unit and model tests on every Python with
the newest Synapse that there is for it. `--page` writes the outcome into
docs/compatibility.md, and leaves out what passed there in an earlier short run;
`--record` looks at all versions, and writes down their shapes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from packaging.version import Version

from tests.compat import page
from tests.compat.environments import END_TO_END, FAST, NEWEST, OLDEST, SHORT, run
from tests.compat.shapes import record, recorded, shapes_in

PYTHONS: tuple[str, ...] = ("3.11", "3.13")
# All that the module is for.
ALL_PYTHONS: tuple[str, ...] = ("3.9", "3.10", "3.11", "3.12", "3.13")


def pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return done.stdout


def released() -> list[str]:
    """Return the versions of Synapse that the registry has, oldest first."""
    said = pip("index", "versions", "--pre", "matrix-synapse").splitlines()
    (line,) = [each for each in said if "Available" in each]
    # Not the few that were none, such as 1.9.0.dev2.
    versions = re.findall(r"(?<= )[\d.]+(?:rc\d+)?(?=,|$)", line)
    known = [each for each in versions if Version(each) >= Version(OLDEST)]
    return sorted(known, key=Version)


def chosen(versions: list[str]) -> list[str]:
    """Return the versions to test, oldest first."""
    final = [each for each in versions if "rc" not in each]
    changed = {since for by_version in recorded().values() for since in by_version}
    return sorted({final[0], final[-1], versions[-1], *changed}, key=Version)


def look_at_all(versions: list[str]) -> None:
    """Write down the shapes of all versions."""
    found: dict[str, dict[str, str]] = {}
    for version in versions:
        with tempfile.TemporaryDirectory() as directory:
            options = ["--quiet", "--no-deps", "--only-binary=:all:", "-d", directory]
            pip("download", *options, f"matrix-synapse=={version}")
            (wheel,) = Path(directory).glob("*.whl")
            found[version] = shapes_in(zipfile.Path(wheel))
    record(found)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.compat", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    parser.add_argument("--python", action="append", help="such as 3.11; repeatable")
    parser.add_argument("--fast", action="store_true", help="unit and model tests")
    parser.add_argument("--short", action="store_true", help="a few, every release")
    parser.add_argument("--record", action="store_true", help="look at all versions")
    parser.add_argument("--page", action="store_true", help="write the table")
    parser.add_argument("--only", default="", help="which tests, as for pytest's -k")
    given = parser.parse_args()
    if given.record:
        look_at_all([each for each in released() if "rc" not in each])
        return 0
    tests, table, pythons = END_TO_END, page.RUNS, PYTHONS
    if given.short:
        tests, table, pythons = SHORT, page.RELEASES, PYTHONS[:1]
        known = page.passed(page.PAGE.read_text()) if given.page else []
        newest_first = given.versions or released()[::-1]
        versions = [each for each in newest_first if each not in known]
    elif given.fast:
        tests, table, pythons = FAST, page.FAST, ALL_PYTHONS
        versions = given.versions or [NEWEST]
    else:
        versions = given.versions or chosen(released())
    if given.only:
        tests = (*tests, "-k", given.only)
    is_good = True
    for version in versions:
        for python in given.python or pythons:
            done = run(version, python, tests, shares=given.short)
            print(page.line(done), flush=True)  # noqa: T201 data
            if given.page and done.outcome in {"passed", "failed"}:
                page.write(done, table)
            # Nobody has every Python, but who names one means it; candidates may fail.
            has_to_pass = given.short or not (
                "rc" in version
                or (done.outcome.startswith("no python") and given.python is None)
            )
            is_good = is_good and (done.outcome == "passed" or not has_to_pass)
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
