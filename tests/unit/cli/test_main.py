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
import yaml

from synapse_withheld.cli import __main__ as cli
from tests.harness.backlog import notice
from tests.unit.cli.test_sweep import make_database

ROOT = Path(__file__).parents[3]

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


@pytest.mark.parametrize("command", cli.commands())
def test_every_command_has_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert re.search(r"^examples?:", help_text, re.MULTILINE)
    assert "exit code" in help_text

    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert re.search(rf"^ +{command} ", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["check"], "required: -c"),
        (["explain"], "required: FILE"),
        *(
            ([*command, "127.0.0.1:9000"], f"does not begin like {like}")
            for command, like in (
                (["status"], "http://127.0.0.1:9000"),
                (["check", "-c", "x", "--metrics-url"], "http://127.0.0.1:9000"),
                (["top"], "https://matrix.example.org"),
            )
        ),
        *(
            ([*command, f"{name}={text}"], "must be a duration such as 1s")
            for command, name in (
                (["status", "http://h"], "--every"),
                (["sweep", "-c", "x"], "--pause"),
                (["survey", "-c", "x"], "--pause"),
            )
            for text in ("x", "999", "00")
        ),
        *(
            ([*command, f"{name}={text}"], f"{text[:20]!r} is not {right}")
            for command, name, right in (
                (["survey", "-c", "x"], "--limit", "1 to 1000"),
                (["sweep", "-c", "x"], "--batch-size", "1 to 10000"),
            )
            for text in ("0", "10001", "9" * 5000, "\u0663")
        ),
        *(
            (["top", "http://h", f"--limit={text}"], "is not from 1 to 100")
            for text in ("0", "101", "9" * 5000)
        ),
        (["sweep", "-c", "x", "--enforce", "--dry-run"], "not allowed with"),
    ],
)
def test_what_is_wrong_with_an_argument_is_said(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is a sentence, not the name of a function."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, "usage: synapse-withheld" in err) == ("", True)
    assert says in err.splitlines()[-1]
    assert not re.search(r"invalid \w+ value", err)


def without_synapse(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in an environment that has no Synapse."""
    command = [sys.executable, "-c", WITHOUT_SYNAPSE, *arguments]
    return subprocess.run(  # noqa: S603 our own command
        command, capture_output=True, text=True, check=False
    )


def test_without_synapse_check_says_so(tmp_path: Path) -> None:
    """Installed into the wrong environment: what `check` is asked first."""
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org")
    result = without_synapse("check", "-c", str(path))
    assert result.returncode == 1
    first = result.stdout.splitlines()[0]
    assert first.startswith("WRONG  module ")
    assert "No module named 'synapse'; to do: run this with the Python" in first


def test_without_synapse_the_others_work(tmp_path: Path) -> None:
    """A database is read; and support has no homeserver at hand."""
    path = tmp_path / "homeserver.yaml"
    path.write_text(yaml.safe_dump(make_database(tmp_path, [notice(), notice()])))
    for command in ("survey", "sweep"):
        result = without_synapse(command, "-c", str(path), "--pause", "0", "--json")
        assert (result.returncode, result.stderr) == (0, "")
        assert json.loads(result.stdout)["done"] is True
    samples = ROOT / "tests" / "samples" / "no_olm.jsonl"
    result = without_synapse("explain", str(samples))
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 26)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """As with `head`: nothing is said."""
    path = tmp_path / "messages.jsonl"
    path.write_text('{"hours_passed": 1}\n' * 20_000)
    command = [sys.executable, "-m", "synapse_withheld.cli", "explain", str(path)]
    process: Any = subprocess.Popen(  # noqa: S603 our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    talk, code = process.stderr.read(), process.wait()
    assert (talk, code) == ("", 2)


@pytest.mark.parametrize("command", ["survey", "sweep"])
def test_a_reader_that_is_gone_is_no_fault_of_the_configuration(
    tmp_path: Path, command: str
) -> None:
    """Where Python writes at once, the summary meets nobody."""
    path = tmp_path / "homeserver.yaml"
    path.write_text(yaml.safe_dump(make_database(tmp_path, [notice(), notice()])))
    reader, writer = os.pipe()
    os.close(reader)
    run = [sys.executable, "-u", "-m", "synapse_withheld.cli", command, "-c", str(path)]
    process = subprocess.run(  # noqa: S603 our own command
        run, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (process.stderr, process.returncode) == ("", 2)
