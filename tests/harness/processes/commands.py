"""Run the command line, as a process, and the commands of a page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

from tests.harness.homeservers.homeserver import Homeserver

# What pages write for the addresses of a homeserver's listeners.
METRICS, CLIENTS = "127.0.0.1:9000", "127.0.0.1:8008"

_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A command on a page, and what the page says that it prints."""

    command: str
    output: str


def command_line(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run `synapse-withheld` to its end."""
    return subprocess.run(  # noqa: S603 our own command
        [sys.executable, "-m", "synapse_withheld.cli", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def in_shell(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as an operator types it, in whose path the program is."""
    programs = directory / "programs"
    programs.mkdir(exist_ok=True)
    program = programs / "synapse-withheld"
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m synapse_withheld.cli "$@"\n'
    )
    program.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return subprocess.run(  # noqa: S603 a page of our own
        ["sh", "-c", command],  # noqa: S607 as an operator does
        cwd=directory,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def addressed(command: str, homeserver: Homeserver) -> str:
    """Return a command of a page with the addresses of a homeserver."""
    command = command.replace(METRICS, address_of(homeserver.metrics_url))
    return command.replace(CLIENTS, address_of(homeserver.base_url))


def address_of(url: str) -> str:
    return url.split("/")[2]


def examples(page: str) -> list[Example]:
    """Return the commands of a page: what follows `$` in its `console` blocks."""
    found = []
    for block in _CONSOLE.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Example(command, output))
    return found


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Give the language of each block of code on a page, and its lines."""
    language: str | None = None
    lines: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, lines = line[3:], []
        else:
            yield language, lines
            language = None


def shell_lines(page: str) -> list[str]:
    """Return the commands in the `sh` blocks of a page, without comments."""
    lines = [line for kind, some in blocks(page) if kind == "sh" for line in some]
    commands = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [command for command in commands if command]
