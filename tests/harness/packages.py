"""Build the package, and install it where it has not been."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import attrs

# The packages of the environment that the tests run in.
OWN_PACKAGES = Path(sysconfig.get_paths()["purelib"])


@attrs.frozen
class Built:
    """What `make dist` makes."""

    sdist: Path
    wheel: Path


def build(source: Path, directory: Path) -> Built:
    """Build an sdist of a checkout, and a wheel of that sdist."""
    command = [sys.executable, "-m", "build", "--no-isolation"]
    run(*command, "--outdir", str(directory), str(source))
    (sdist,) = directory.glob("*.tar.gz")
    (wheel,) = directory.glob("*.whl")
    return Built(sdist, wheel)


def environment_beside(packages: Path, directory: Path) -> Path:
    """Make an environment that sees other packages, but not what is editable there."""
    run(sys.executable, "-m", "venv", str(directory))
    (own,) = directory.glob("lib/python*/site-packages")
    (own / "synapse.pth").write_text(f"{packages}\n")
    return directory


def where(environment: Path) -> str:
    """Return where an environment has the module, empty if nowhere."""
    code = (
        "import importlib.util as u; found = u.find_spec('synapse_withheld');"
        "print(found.origin if found else '')"
    )
    python = str(environment / "bin/python")
    return run(python, "-c", code, directory=environment).strip()


def run(*command: str, directory: Path | None = None) -> str:
    """Run a command that has to succeed; return what it prints."""
    done = subprocess.run(  # noqa: S603 our own
        command, cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
