"""Programs that tests run to their end: ours, those of a page, others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.harness.servers.homeserver import Homeserver

# Debian's names.
PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "nginx": "nginx",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}


def program(name: str) -> str:
    """Return where a program is; without it skip, but never with `CI=true`."""
    if (path := shutil.which(name)) is not None:
        return path
    missing = f"no {name}: apt-get install {PACKAGES[name]}, or put it on PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing, allow_module_level=True)


# What pages write for the addresses of a homeserver's listeners.
METRICS, CLIENTS = "127.0.0.1:9000", "127.0.0.1:8008"

_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A command on a page, and what the page says that it prints."""

    command: str
    output: str


def command_line(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run `synapse-withheld` to its end."""
    return _done(sys.executable, "-m", "synapse_withheld.cli", *arguments, at=directory)


def in_shell(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as an operator types it, in whose path the program is."""
    program = directory / "programs" / "synapse-withheld"
    program.parent.mkdir(exist_ok=True)
    call = f'exec "{sys.executable}" -m synapse_withheld.cli "$@"'
    program.write_text(f"#!/bin/sh\n{call}\n")
    program.chmod(0o755)
    path = f'PATH="{program.parent}:$PATH"\n'
    return _done("sh", "-c", path + command, at=directory)


def addressed(command: str, homeserver: Homeserver) -> str:
    """Return a command of a page with the addresses of a homeserver."""
    command = command.replace(METRICS, address_of(homeserver.metrics_url))
    return command.replace(CLIENTS, address_of(homeserver.base_url))


def address_of(url: str) -> str:
    return url.split("/")[2]


def examples(page: str) -> list[Example]:
    """Return the commands of a page: what follows `$` in its `console` blocks."""
    return [
        Example(command, output)
        for kind, block in _BLOCK.findall(page)
        if kind == "console"
        for command, output in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.M)
    ]


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Return the language of each block of code on a page, and its lines."""
    found = _BLOCK.findall(text)
    return [(kind, [*map(str.strip, block.splitlines())]) for kind, block in found]


def shell_lines(page: str) -> list[str]:
    """Return the commands in the `sh` blocks of a page, without comments."""
    lines = [line for kind, some in blocks(page) if kind == "sh" for line in some]
    commands = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [command for command in commands if command]


# The packages of the environment that the tests run in.
OWN_PACKAGES = Path(sysconfig.get_paths()["purelib"])


class Built(NamedTuple):
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
    done = _done(*command, at=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _done(*command: str, at: Path | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 our own
        command, cwd=at, capture_output=True, text=True, check=False
    )
