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

from tests.compat import page
from tests.compat.environments import (
    END_TO_END,
    FAST,
    NEWEST,
    OLDEST,
    SHORT,
    Run,
    run,
)
from tests.compat.shapes import key, record, recorded, shapes_in

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
    return sorted((each for each in versions if key(each) >= key(OLDEST)), key=key)


def chosen(versions: list[str]) -> list[str]:
    """Return the versions to test, oldest first."""
    final = [each for each in versions if "rc" not in each]
    changed = {since for by_version in recorded().values() for since in by_version}
    return sorted({final[0], final[-1], versions[-1], *changed}, key=key)


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
    arguments = parser.parse_args()
    if arguments.record:
        look_at_all([each for each in released() if "rc" not in each])
        return 0
    tests, table, pythons, versions = END_TO_END, page.RUNS, PYTHONS, arguments.versions
    if arguments.short:
        known = page.passed(page.PAGE.read_text()) if arguments.page else []
        tests, table, pythons = SHORT, page.RELEASES, PYTHONS[:1]
        newest_first = versions or released()[::-1]
        versions = [each for each in newest_first if each not in known]
    elif arguments.fast:
        tests, table, pythons = FAST, page.FAST, ALL_PYTHONS
        versions = versions or [NEWEST]
    elif not versions:
        versions = chosen(released())
    if arguments.only:
        tests = (*tests, "-k", arguments.only)
    runs = []
    for version in versions:
        for python in arguments.python or pythons:
            runs.append(run(version, python, tests, shares=arguments.short))
            print(page.line(runs[-1]), flush=True)  # noqa: T201 data
            if arguments.page and runs[-1].outcome in {"passed", "failed"}:
                page.write(runs[-1], table)
    return int(any(_counts(each, arguments) for each in runs))


def _counts(done: Run, arguments: argparse.Namespace) -> bool:
    """Say whether a run is one that has to pass, and did not."""
    if done.outcome == "passed":
        return False
    # Nobody has every Python; but who names one means it.
    is_there = not done.outcome.startswith("no python") or arguments.python is not None
    return arguments.short or (is_there and "rc" not in done.synapse)


if __name__ == "__main__":
    sys.exit(main())
