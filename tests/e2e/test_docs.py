"""Every command of the documentation is run, or is known to be run elsewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import attrs
import pytest
import yaml

from synapse_withheld.config import Config, parse
from tests.harness.commands import blocks, in_shell, program, shell_lines
from tests.harness.dashboards import RULES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()

# Run by test_command_line.py with what they print, and by test_workers.py.
ELSEWHERE = {"command-line.md", "workers.md"}
# What only a host of its own has; what it does is known.
ON_A_HOST = {"systemctl reload prometheus"}

DEBIAN = "/opt/venvs/matrix-synapse/bin/"

COMMANDS = [
    command
    for page in PAGES
    if page.name not in ELSEWHERE
    for command in shell_lines(page.read_text())
]


def those_of(*programs: str) -> list[str]:
    """Return the commands that begin with one of these, once each."""
    found = [line for line in COMMANDS if line.split()[0] in programs]
    return list(dict.fromkeys(found))


# Run by test_package.py.
PIP = those_of("pip", f"{DEBIAN}pip")
# Run by test_command_line.py.
OWN = those_of("synapse-withheld")
MAKE = those_of("make")
PROMTOOL = those_of("promtool")


def test_every_command_is_one_that_is_run() -> None:
    """A new kind of command needs a way to run it here."""
    assert {*COMMANDS} == {*PIP, *OWN, *MAKE, *PROMTOOL, *ON_A_HOST}
    assert all((PIP, OWN, MAKE, PROMTOOL))


def test_every_block_says_what_it_is() -> None:
    """Commands are `sh` or `console`; else they would not be found."""
    for page in PAGES:
        for language, lines in blocks(page.read_text()):
            for line in lines if not language else ():
                assert not re.match(r"(\$ |make |pip |synapse-withheld )", line), line


@pytest.mark.parametrize("command", MAKE)
def test_what_is_made_has_a_target(command: str) -> None:
    """CI runs those that test; the others are benchmarks and demonstrations."""
    _, *words = shlex.split(command)
    targets = [word for word in words if "=" not in word]
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


@pytest.mark.parametrize("command", PROMTOOL)
def test_a_command_of_prometheus_is_right(command: str, tmp_path: Path) -> None:
    program("promtool")
    config = {"rule_files": [RULES.name]}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    (tmp_path / RULES.name).write_text(RULES.read_text())
    result = in_shell(command, tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_configuration_that_is_shown_is_the_default() -> None:
    """Every key, and what holds where it is left out."""
    page = (ROOT / "docs/configuration.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    configs = [yaml.safe_load(block)["modules"][0]["config"] for block in blocks]
    shown = max(configs, key=len)
    assert parse(shown) == Config()
    assert len(shown) == len(attrs.fields(Config))
