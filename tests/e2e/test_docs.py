"""Every command of the documentation is run, or is known to be run elsewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Iterator

import attrs
import pytest
import yaml

from synapse_withheld.config import Config, parse
from tests.harness.commands import (
    OWN_PACKAGES,
    blocks,
    build,
    environment_beside,
    in_shell,
    program,
    run,
    shell_lines,
    where,
)
from tests.harness.dashboards import RULES

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAKEFILE = (ROOT / "Makefile").read_text()

# Run by test_command_line.py with what they print, and by test_workers.py.
ELSEWHERE = {"command-line.md", "workers.md"}
# What only a host of its own has; what it does is known.
ON_A_HOST = {"systemctl reload prometheus"}

DEBIAN = "/opt/venvs/matrix-synapse/bin/"


def commands() -> Iterator[tuple[str, str]]:
    """Give the name of each page and each line of its shell blocks."""
    for page in PAGES:
        for command in shell_lines(page.read_text()):
            yield page.name, command


COMMANDS = [each for each in commands() if each[0] not in ELSEWHERE]


def those_of(*programs: str) -> list[str]:
    """Return the commands that begin with one of these, once each."""
    found = [line for _, line in COMMANDS if line.split()[0] in programs]
    return list(dict.fromkeys(found))


PIP = those_of("pip", f"{DEBIAN}pip")
# Debian's package has a pip of its own; it is the same program.
(UNINSTALL,) = {each.replace(DEBIAN, "") for each in PIP if "uninstall" in each}
INSTALL = sorted({each.replace(DEBIAN, "") for each in PIP if "uninstall" not in each})
OWN = those_of("synapse-withheld")
MAKE = those_of("make")
PROMTOOL = those_of("promtool")


def test_every_command_is_one_that_is_run() -> None:
    """A new kind of command needs a way to run it here."""
    run = {*PIP, *OWN, *MAKE, *PROMTOOL, *ON_A_HOST}
    assert {line for _, line in COMMANDS} == run
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


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment_beside(OWN_PACKAGES, tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, as a page says to before it is copied."""
    return build(ROOT, tmp_path_factory.mktemp("dist")).wheel


@pytest.mark.parametrize("command", INSTALL)
def test_a_command_of_pip_installs_and_another_uninstalls(
    environment: Path, wheel: Path, command: str
) -> None:
    """In an environment with Synapse, from a checkout or beside the wheel."""
    programs = f"{environment}/bin/"
    directory = wheel.parent if ".whl" in command else ROOT
    run("sh", "-c", programs + command, directory=directory)
    installed = where(environment)
    assert installed.startswith(str(environment))
    assert (Path(installed).parent / "operators/pages/page.html").is_file()
    run("sh", "-c", programs + UNINSTALL, directory=ROOT)
    assert where(environment) == ""


def test_the_configuration_that_is_shown_is_the_default() -> None:
    """Every key, and what holds where it is left out."""
    page = (ROOT / "docs/configuration.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    shown = max((yaml.safe_load(block) for block in blocks), key=_keys)
    (entry,) = shown["modules"]
    assert parse(entry["config"]) == Config()
    assert _keys(shown) == len(attrs.fields(Config))


def _keys(shown: dict[str, list[dict[str, dict[str, str]]]]) -> int:
    (entry,) = shown["modules"]
    return len(entry["config"])
