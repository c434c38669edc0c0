"""Environments with other versions of Synapse, and the tests run in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".compat"

# What the old versions are not yet, or no longer, content with.
CONSTRAINTS = ("prometheus-client<0.24", "setuptools<81", "txredisapi<1.6")

# They have nothing to do with the version of Synapse, or are for the newest.
LEFT_OUT = ("test_docs.py", "test_page.py")


@attrs.frozen
class Run:
    """The tests on one version.

    Attributes:
        outcome: `passed`, `failed`, `not installed`, or why it was not tried.
        counts: What pytest says at its end.
    """

    synapse: str
    python: str
    outcome: str
    counts: str = ""
    seconds: float = 0.0


def run(synapse: str, python: str, more: list[str]) -> Run:
    """Install a version of Synapse, if it is not there yet, and run the tests."""
    interpreter = shutil.which(f"python{python}")
    if interpreter is None:
        return Run(synapse, python, f"no python{python} here")
    directory = ENVIRONMENTS / f"{python}-{synapse}"
    own = str(directory / "bin" / "python")
    if not _install(interpreter, own, directory, synapse):
        return Run(synapse, python, "not installed")
    began = time.monotonic()
    left_out = [f"--ignore=tests/e2e/{name}" for name in LEFT_OUT]
    command = [own, "-m", "pytest", "-q", "--show-capture=no", *left_out]
    lines = []
    with subprocess.Popen(  # noqa: S603 our own command
        [*command, "tests/e2e", *more], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            print(line, end="", file=sys.stderr, flush=True)  # noqa: T201 talk
    counts = re.sub(r" in .*|=+", "", lines[-1]).strip() if lines else ""
    outcome = "failed" if process.returncode else "passed"
    return Run(synapse, python, outcome, counts, time.monotonic() - began)


def _install(interpreter: str, own: str, directory: Path, synapse: str) -> bool:
    done = directory / ".installed"
    if done.exists():
        return True
    directory.mkdir(parents=True, exist_ok=True)
    packages = [f"matrix-synapse[redis]=={synapse}", ".[test]", *CONSTRAINTS]
    install = [own, "-m", "pip", "install", "--quiet", "--pre", *packages]
    if "rc" not in synapse:
        install.remove("--pre")
    for command in ([interpreter, "-m", "venv", str(directory)], install):
        if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603 ours
            return False
    # The tests are those of this checkout, and so is the module.
    uninstall = [own, "-m", "pip", "uninstall", "--quiet", "--yes", "synapse-withheld"]
    subprocess.run(uninstall, check=True)  # noqa: S603 ours
    (packages_of(directory) / "checkout.pth").write_text(f"{ROOT}\n")
    done.touch()
    return True


def packages_of(directory: Path) -> Path:
    """Return where an environment has its packages."""
    (found,) = directory.glob("lib/python*/site-packages")
    return found
