"""What is built of a checkout: what is in it, and that it works once installed."""

from __future__ import annotations

import email
import re
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from synapse_withheld.version import VERSION
from tests.compat.environments import OLDEST, environment, packages_of
from tests.harness.commands import (
    OWN_PACKAGES,
    Built,
    build,
    environment_beside,
    run,
    where,
)
from tests.harness.reactor import in_reactor
from tests.harness.servers.homeserver import Homeserver, running

ROOT = Path(__file__).parents[2]
NAME = f"synapse_withheld-{VERSION}"
PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built.sdist) as archive:
        archive.extractall(directory)  # noqa: S202 our own
    return directory / NAME


def files_of(directory: Path, folder: str = "synapse_withheld") -> set[str]:
    """Return the paths of the files in a folder of a checkout."""
    found = (directory / folder).rglob("*")
    return {
        str(each.relative_to(directory))
        for each in found
        if each.is_file() and each.parent.name != "__pycache__"
    }


def test_the_wheel_holds_the_module_and_the_command(built: Built) -> None:
    """No test, no demonstration, and nothing that another package could be hurt by."""
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt"}
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        commands = wheel.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert files_of(ROOT) | {f"{NAME}.dist-info/{each}" for each in about} == names
    assert [
        "[console_scripts]",
        "synapse-withheld = synapse_withheld.cli.__main__:console",
    ] == commands.split("\n")[:2]
    assert f"{NAME}-py3-none-any.whl" == built.wheel.name


def test_the_metadata_says_whose_it_is_and_what_for(built: Built) -> None:
    """No address: where the project will live is not decided.

    And nothing of development: what tests need is in `tests/requirements`.
    """
    with zipfile.ZipFile(built.wheel) as wheel:
        text = wheel.read(f"{NAME}.dist-info/METADATA").decode()
    metadata = email.message_from_string(text)
    classifiers = metadata.get_all("Classifier", [])
    pythons = [each.rpartition(" ")[2] for each in classifiers if ":: 3." in each]
    assert list(PYTHONS) == pythons
    assert f">={PYTHONS[0]}" == metadata["Requires-Python"]
    assert "Apache-2.0" == metadata["License-Expression"]
    assert metadata["Author"]
    for name in ("Author-email", "Home-page", "Project-URL", "Provides-Extra"):
        assert metadata[name] is None
    needed = [
        re.split(r"[^\w-]", each)[0] for each in metadata.get_all("Requires-Dist", [])
    ]
    assert ["attrs", "prometheus-client", "pyyaml", "twisted"] == needed


def test_the_sdist_holds_the_checkout(unpacked: Path) -> None:
    """And nothing that only lies about in it."""
    top = {each.name for each in unpacked.iterdir()}
    folders = {".ci", "docs", "synapse_withheld", "tests"}
    files = {".dockerignore", ".gitignore", "Makefile", "README.md", "pyproject.toml"}
    assert folders | files | {"PKG-INFO"} == top
    for folder in folders:
        assert files_of(ROOT, folder) == files_of(unpacked, folder)


@pytest.mark.minutes
def test_the_sdist_can_be_tested(unpacked: Path) -> None:
    """Every test finds what it imports, and those that take seconds pass."""
    pytest_here = [sys.executable, "-m", "pytest", "-q"]
    run(*pytest_here, "--collect-only", directory=unpacked)
    run(*pytest_here, "tests/unit", "tests/model", directory=unpacked)


def test_nobody_is_told_to_install_a_name() -> None:
    """No index has it: it is installed from a checkout or a wheel."""
    name = re.compile(r"pip install (-\S+ )*synapse[-_]withheld(?![-\w.*]*\.whl)")
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    sources = [ROOT / each for each in files_of(ROOT)]
    for path in (*pages, *sources):
        text = " ".join(path.read_text().split())
        assert name.search(text) is None, path


async def _acts(built: Built, packages: Path, directory: Path) -> str:
    """Install the wheel beside a Synapse, run it, and return what `check` says."""
    own = environment_beside(packages, directory / "environment")
    programs = own / "bin"
    # Whatever else it needed would be missing.
    run(str(programs / "pip"), "install", "--no-index", str(built.wheel))
    assert where(own).startswith(str(own))
    python = str(programs / "python")
    homeserver = Homeserver(directory / "homeserver", module={}, python=python)
    async with running(homeserver):
        check = [str(programs / "synapse-withheld"), "check", "-c", "homeserver.yaml"]
        return run(*check, directory=homeserver.log_path.parent)


@in_reactor
async def test_the_wheel_acts_beside_the_newest_synapse(
    built: Built, tmp_path: Path
) -> None:
    """Without an index: Synapse has brought all that it needs."""
    said = await _acts(built, OWN_PACKAGES, tmp_path)
    assert f"synapse   {version('matrix-synapse')};" in said


@pytest.mark.minutes
@in_reactor
async def test_the_wheel_acts_beside_the_oldest_synapse(
    built: Built, tmp_path: Path
) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    oldest = environment(OLDEST, python)
    assert oldest is not None, f"Synapse {OLDEST} could not be installed"
    said = await _acts(built, packages_of(oldest), tmp_path)
    assert f"synapse   {OLDEST};" in said
