"""Programs that tests run to their end: ours, those of a page, others."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Debian's names, where they differ.
PACKAGES = {"promtool": "prometheus", "chromedriver": "chromium-driver"}


def program(name: str) -> str:
    """Return where a program is; without it skip, but never with `CI=true`."""
    if (path := shutil.which(name)) is not None:
        return path
    package = PACKAGES.get(name, name)
    missing = f"no {name}: apt-get install {package}, or put it on PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing, allow_module_level=True)


def in_shell(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as an operator types it, with `synapse-withheld` for this checkout."""
    ours = f"{sys.executable} -m synapse_withheld.cli "
    return subprocess.run(  # noqa: S602 our own
        re.sub("^synapse-withheld ", ours, command),
        shell=True,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def run(command: str, directory: Path) -> str:
    """Run a line that has to succeed; return what it prints."""
    done = in_shell(command, directory)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the language of each block of code on a page, and its text."""
    return _BLOCK.findall(page)


def shell_lines(page: str) -> list[str]:
    """Return the commands in the `sh` blocks of a page, without comments."""
    text = "".join(block for kind, block in blocks(page) if kind == "sh")
    commands = (re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines())
    return [command for command in commands if command]
