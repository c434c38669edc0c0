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
import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable

from tests.compat import page
from tests.compat.environments import (
    END_TO_END,
    FAST,
    NEWEST,
    OLDEST,
    Run,
    run,
    run_short,
)
from tests.compat.facts import Facts, of_wheel
from tests.compat.shapes import (
    is_final,
    key,
    record,
    recorded,
    versions_with_a_new_shape,
)

PYTHONS: tuple[str, ...] = ("3.11", "3.13")
# All that the module is for.
ALL_PYTHONS: tuple[str, ...] = ("3.9", "3.10", "3.11", "3.12", "3.13")


def released() -> list[str]:
    """Return the versions of Synapse that the registry has, oldest first."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--pre"]
    done = subprocess.run(  # noqa: S603 pip
        [*command, "matrix-synapse"], capture_output=True, text=True, check=True
    )
    (line,) = [each for each in done.stdout.splitlines() if "Available" in each]
    # Not the few that were none, such as 1.9.0.dev2.
    versions = re.findall(r"(?<= )[\d.]+(?:rc\d+)?(?=,|$)", line)
    return sorted((each for each in versions if key(each) >= key(OLDEST)), key=key)


def chosen(versions: list[str]) -> list[str]:
    """Return the versions to test, oldest first."""
    final = [each for each in versions if is_final(each)]
    wanted = {final[0], final[-1], *versions_with_a_new_shape(recorded())}
    if versions[-1] not in final:
        wanted.add(versions[-1])
    return sorted(wanted, key=key)


def look_at_all(versions: list[str]) -> None:
    """Write down the shapes of all versions."""
    found: dict[str, dict[str, Facts]] = {}
    for version in versions:
        with tempfile.TemporaryDirectory() as directory:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--only-binary", ":all:", "--dest", directory]
            subprocess.run([*command, f"matrix-synapse=={version}"], check=True)  # noqa: S603 pip
            (wheel,) = Path(directory).glob("*.whl")
            found[version] = of_wheel(wheel)
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
        look_at_all([each for each in released() if is_final(each)])
        return 0
    more = ["-k", arguments.only] if arguments.only else []
    play: Callable[[str, str], Run] = functools.partial(run, tests=[*END_TO_END, *more])
    table, pythons, versions = page.RUNS, PYTHONS, arguments.versions
    if arguments.short:
        known = page.passed(page.PAGE.read_text()) if arguments.page else []
        table, pythons, play = page.RELEASES, PYTHONS[:1], run_short
        newest_first = versions or released()[::-1]
        versions = [each for each in newest_first if each not in known]
    elif arguments.fast:
        table, pythons, versions = page.FAST, ALL_PYTHONS, versions or [NEWEST]
        play = functools.partial(run, tests=[*FAST, *more])
    elif not versions:
        versions = chosen(released())
    runs = []
    for version in versions:
        for python in arguments.python or pythons:
            done = play(version, python)
            runs.append(done)
            print(page.line(done), flush=True)  # noqa: T201 data
            if arguments.page and done.outcome in {"passed", "failed"}:
                page.write(done, table)
    if arguments.short:
        return int(any(each.outcome != "passed" for each in runs))
    return int(any(_counts(each, arguments.python) for each in runs))


def _counts(done: Run, asked_for: list[str] | None) -> bool:
    """Say whether a run is one that has to pass, and did not."""
    if done.outcome == "passed" or "rc" in done.synapse:
        return False
    # Nobody has every Python; but who names one means it.
    return not done.outcome.startswith("no python") or asked_for is not None


if __name__ == "__main__":
    sys.exit(main())
