"""The command line: commands, help, and what it needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.__main__ import commands
from tests.harness.backlog import notice
from tests.unit.cli.conftest import Run, make_database, write

ROOT = Path(__file__).parents[3]
PROGRAM = (sys.executable, "-m", "synapse_withheld.cli")

# Runs the command line where no Synapse can be imported.
WITHOUT_SYNAPSE = """
import sys

class NoSynapse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "synapse":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoSynapse())
from synapse_withheld.cli.__main__ import console
console()
"""


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    assert re.search(rf"^ +{command} ", run("--help").out, re.M)
    code, said, _ = run(command, "--help")
    assert 0 == code
    assert re.search(r"^examples?:(.|\n)*^exit codes?:", said, re.M)


DURATION = "must be a duration such as 1s"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "required: COMMAND"),
        ("nonsense", "invalid choice: 'nonsense'"),
        ("check", "required: -c"),
        ("explain", "required: FILE"),
        ("status 127.0.0.1:9000", "does not begin like http://127.0.0.1:9000"),
        ("check -c x --metrics-url localhost:1", "does not begin like http://127.0.0"),
        ("top localhost:8008", "does not begin like https://matrix.example.org"),
        *((f"status http://h --every={text}", DURATION) for text in ("x", "999", "00")),
        ("sweep -c x --pause=999", DURATION),
        ("survey -c x --pause=999", DURATION),
        *(
            (f"{command}={text}", f"{text[:20]!r} is not 1 to {most}")
            for command, most in (
                ("survey -c x --limit", 1000),
                ("sweep -c x --batch-size", 10000),
            )
            for text in ("0", "10001", "9" * 5000, "\u0663")
        ),
        *(
            (f"top http://h --limit={text}", "is not 1 to 100")
            for text in ("0", "101", "9" * 5000)
        ),
        ("sweep -c x --enforce --dry-run", "not allowed with"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_wrong_with_an_argument_is_said(
    run: Run, arguments: str, says: str
) -> None:
    """The last line is a sentence, not the name of a function."""
    code, out, err = run(*arguments.split())
    assert (code, out, "usage: synapse-withheld" in err) == (2, "", True)
    assert says in err.splitlines()[-1]
    assert not re.search(r"invalid \w+ value", err)


def process(*command: str, stdout: int = subprocess.PIPE) -> Any:
    return subprocess.run(  # noqa: S603 our own command
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_without_synapse_check_says_so_and_the_others_work(tmp_path: Path) -> None:
    """In the wrong environment `check` is asked first; a database is read anyway.

    And support has no homeserver at hand.
    """
    path = write(tmp_path, make_database(tmp_path, [notice(), notice()]))

    def without_synapse(*arguments: str) -> Any:
        return process(sys.executable, "-c", WITHOUT_SYNAPSE, *arguments)

    result = without_synapse("check", "-c", path)
    assert result.returncode == 1
    says = "WRONG  module .*No module named 'synapse'; to do: run this with the Python"
    assert re.match(says, result.stdout)
    for command in ("survey", "sweep"):
        result = without_synapse(command, "-c", path, "--pause", "0", "--json")
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout)["done"] is True
    samples = ROOT / "tests" / "samples" / "no_olm.jsonl"
    result = without_synapse("explain", str(samples))
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 26)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """As with `head`: nothing is said."""
    path = tmp_path / "messages.jsonl"
    path.write_text('{"hours_passed": 1}\n' * 20_000)
    running: Any = subprocess.Popen(  # noqa: S603 our own command
        [*PROGRAM, "explain", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    running.stdout.readline()
    running.stdout.close()
    assert (running.stderr.read(), running.wait()) == ("", 2)


@pytest.mark.parametrize("command", ["survey", "sweep"])
def test_a_reader_that_is_gone_is_no_fault_of_the_configuration(
    tmp_path: Path, command: str
) -> None:
    """Where Python writes at once, the summary meets nobody."""
    path = write(tmp_path, make_database(tmp_path, [notice(), notice()]))
    reader, writer = os.pipe()
    os.close(reader)
    python, *program = PROGRAM
    ended = process(python, "-u", *program, command, "-c", path, stdout=writer)
    os.close(writer)
    assert (ended.stderr, ended.returncode) == ("", 2)
