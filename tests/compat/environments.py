"""Environments with other versions of Synapse, and the tests run in them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Sequence

from packaging.version import Version

ROOT = Path(__file__).parents[2]

OLDEST = "1.98.0"
# The newest that there is for a Python.
NEWEST = "newest"

# What the old versions are not yet, or no longer, content with.
CONSTRAINTS = ("prometheus-client<0.24", "setuptools<81", "txredisapi<1.6")
# Up to this one Synapse uses what Twisted 24.10 took away, and Twisted before it what
# pyOpenSSL 26 did.
OLDER_TWISTED = "1.118.0"
OLDER = ("twisted<24.10", "pyopenssl<26")

# But for what has nothing to do with the version of Synapse, or is for the newest.
END_TO_END: tuple[str, ...] = (
    "tests/e2e",
    "--ignore=tests/e2e/test_package.py",
    "--ignore=tests/e2e/test_page.py",
)
# They need a Python more than a Synapse.
FAST: tuple[str, ...] = ("tests/unit", "tests/model")
# Start, collapse, re-arm, restart, both directions of federation, a page: a test each.
SHORT: tuple[str, ...] = (
    (
        "tests/e2e/test_rule.py::test_of_what_is_sent_only_what_is_new_stays"
        "[a repeat collapses-sqlite]"
    ),
    "tests/e2e/test_rule.py::test_real_olm_messages_between_the_two_ends_rearm[sqlite]",
    "tests/e2e/test_sweep.py::test_backlog_from_before_a_restart_collapses[sqlite]",
    "tests/e2e/test_federation.py::test_rule_holds_for_notices_from_elsewhere[sqlite]",
    (
        "tests/e2e/test_federation.py"
        "::test_a_server_that_was_away_gets_one_notice[sqlite]"
    ),
    "tests/e2e/test_pages.py::test_an_admin_is_told_the_status_and_who_sends_most",
)


class Run(NamedTuple):
    """The tests on one version."""

    synapse: str
    python: str
    outcome: str  # `passed`, `failed`, `not installed`, or why it was not tried
    counts: str = ""  # what pytest says at its end


def run(synapse: str, python: str, tests: Sequence[str]) -> Run:
    """Install a version of Synapse, or `NEWEST`, and run tests on it with a Python."""
    # pyenv has names for some that are not there.
    asked = ["sh", "-c", f"python{python} -V"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:  # noqa: S603 our own
        return Run(synapse, python, f"no python{python} here")
    directory = environment(synapse, python)
    if directory is None:
        return Run(synapse, python, "not installed")
    command = [str(directory / "bin" / "python"), "-m", "pytest", "-q"]
    code, printed = shown(*command, "--show-capture=no", *tests, directory=ROOT)
    counts = re.sub(r" in .*|=+", "", printed.rstrip().rpartition("\n")[2]).strip()
    (found,) = packages_of(directory).glob("matrix_synapse-*.dist-info")
    version = found.name.removesuffix(".dist-info").partition("-")[2]
    return Run(version, python, "failed" if code else "passed", counts)


def shown(*command: str, directory: Path) -> tuple[int, str]:
    """Run a command, and show what it prints as it comes; return its code, and that."""
    lines = []
    with subprocess.Popen(  # noqa: S603 our own command
        command, cwd=directory, stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line)
            print(line, end="", file=sys.stderr, flush=True)  # noqa: T201 talk
    return process.returncode, "".join(lines)


def environment(synapse: str, python: str) -> Path | None:
    """Return an environment with a Synapse, and with this checkout's module and tests.

    It takes the place of another version that needs about the same, which is quicker;
    `None` where that cannot be done.
    """
    is_older = synapse != NEWEST and Version(synapse) <= Version(OLDER_TWISTED)
    directory = ROOT / ".compat" / f"{python}-{'older' if is_older else 'newer'}"
    own = str(directory / "bin" / "python")
    install = [own, "-m", "pip", "install", "--quiet", *CONSTRAINTS]
    install += ["-r", "tests/requirements/test.txt", *(OLDER if is_older else ())]
    synapse = "--upgrade" if synapse == NEWEST else f"matrix-synapse=={synapse}"
    install += ["matrix-synapse[redis]", synapse]
    # An old Python's own pip tries for hours what fits together.
    make = [f"python{python}", "-m", "venv", "--upgrade-deps", str(directory)]
    for command in (install,) if Path(own).exists() else (make, install):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 ours
            return None
    # The tests are those of this checkout, and so is the module.
    (packages_of(directory) / "checkout.pth").write_text(f"{ROOT}\n")
    return directory


def packages_of(directory: Path) -> Path:
    (found,) = directory.glob("lib/python*/site-packages")
    return found
