"""Apply each break to a copy of the project, and see its test turn red.

Exits with 1 unless every break is caught.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterable

from tests.breaks import ALL
from tests.breaks.model import PACKAGE, ROOT, TABLE, Break, StaleBreakError
from tests.breaks.table import with_table

CAUGHT, SURVIVED, STALE = "CAUGHT", "SURVIVED", "STALE"
# The test did not run, as where the broken file cannot even be imported.
NOT_RUN = "NOT RUN"

# pytest's exit codes; another one means that no test was run.
_VERDICTS = {0: SURVIVED, 1: CAUGHT}
MOST_SECONDS = 120


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="tests.breaks", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="part of a clause or file")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE}, run none")
    arguments = parser.parse_args()
    if arguments.write:
        document = ROOT / TABLE
        document.write_text(with_table(document.read_text(encoding="utf-8"), ALL))
        return 0
    breaks = [each for each in ALL if arguments.only in f"{each.file}: {each.clause}"]
    with tempfile.TemporaryDirectory(prefix="breaks-") as folder:
        return check(breaks, copy_to(Path(folder)))


def check(breaks: list[Break], root: Path) -> int:
    """Run the tests unbroken, then each with its break; print what became of it."""
    nodes = sorted({each.node for each in breaks})
    if not nodes or _run(root, nodes) != SURVIVED:
        _say("There have to be tests, and they have to pass before anything is broken:")
        _say(f"  pytest {' '.join(nodes)}")
        return 1
    caught = 0
    for each in breaks:
        verdict = verdict_on(each, root)
        caught += verdict == CAUGHT
        _report(f"{verdict:8}  {each.file}: {each.clause}  [{each.test}]")
    _report(f"{caught} of {len(breaks)} breaks caught")
    return 0 if caught == len(breaks) else 1


def verdict_on(each: Break, root: Path) -> str:
    """Break a file of the copy, run the test that has to notice, and mend the file."""
    file = root / PACKAGE / each.file
    source = file.read_text(encoding="utf-8")
    # Two versions may differ in nothing that Python tells old bytecode by.
    bytecode = Path(importlib.util.cache_from_source(str(file)))
    try:
        file.write_text(each.applied(source))
        bytecode.unlink(missing_ok=True)
        return _run(root, [each.node])
    except StaleBreakError:
        return STALE
    finally:
        file.write_text(source)
        bytecode.unlink(missing_ok=True)


def copy_to(root: Path) -> Path:
    """Copy to a folder what the tests need."""
    unneeded = shutil.ignore_patterns("__pycache__")
    for name in (PACKAGE, "tests", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=unneeded)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 that is what it is for


def _report(text: str) -> None:
    print(text, flush=True)  # noqa: T201 data goes to standard output


def _run(root: Path, nodes: Iterable[str]) -> str:
    # Other plugins would take longer to load than the test to run.
    plugins = ["-p", "pytest_twisted", "-p", "no:cacheprovider"]
    surroundings = {"PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    try:
        done = subprocess.run(  # noqa: S603 the nodes are those of the list
            [sys.executable, "-m", "pytest", "-x", "-q", *plugins, *nodes],
            cwd=root,
            env={**os.environ, **surroundings},
            capture_output=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return NOT_RUN
    return _VERDICTS.get(done.returncode, NOT_RUN)


if __name__ == "__main__":
    sys.exit(main())
