"""What is built of a checkout: what is in it, and that it works once installed."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from synapse_withheld.version import VERSION
from tests.compat.environments import OLDEST, environment, packages_of
from tests.e2e.test_docs import DEBIAN, PIP
from tests.harness.commands import (
    OWN_PACKAGES,
    Built,
    build,
    environment_beside,
    run,
    where,
)
from tests.harness.servers.homeserver import Homeserver, running

ROOT = Path(__file__).parents[2]
NAME = f"synapse_withheld-{VERSION}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built.sdist) as archive:
        archive.extractall(directory)  # noqa: S202 our own
    return directory / NAME


def files_of(directory: Path, folder: str) -> set[str]:
    """Return the paths of the files in a folder of a checkout."""
    return {
        str(each.relative_to(directory))
        for each in (directory / folder).rglob("*")
        if each.is_file() and each.parent.name != "__pycache__"
    }


def test_what_is_built_holds_what_it_should(built: Built, unpacked: Path) -> None:
    """No test in the wheel, and nothing in the sdist that only lies about here."""
    assert f"{NAME}-py3-none-any.whl" == built.wheel.name
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt"}
    about = {f"{NAME}.dist-info/{each}" for each in about}
    names = zipfile.ZipFile(built.wheel).namelist()
    assert files_of(ROOT, "synapse_withheld") | about == {*names}

    folders = {".ci", "docs", "synapse_withheld", "tests"}
    files = {".dockerignore", ".gitignore", "Makefile", "README.md", "pyproject.toml"}
    top = {each.name for each in unpacked.iterdir()}
    assert folders | files | {"PKG-INFO"} == top
    for folder in folders:
        assert files_of(ROOT, folder) == files_of(unpacked, folder)


@pytest.mark.minutes
def test_the_sdist_can_be_tested(unpacked: Path) -> None:
    """Every test finds what it imports, and those that take seconds pass."""
    pytest_here = [sys.executable, "-m", "pytest", "-q"]
    run(*pytest_here, "--collect-only", directory=unpacked)
    run(*pytest_here, "tests/unit", "tests/model", directory=unpacked)


# Debian's package has a pip of its own; it is the same program.
COMMANDS = {each.replace(DEBIAN, "") for each in PIP}
(UNINSTALL,) = (each for each in COMMANDS if "uninstall" in each)
COMMANDS.remove(UNINSTALL)


def test_commands_install_and_uninstall(built: Built, tmp_path: Path) -> None:
    """In an environment with Synapse, from a checkout or beside the wheel."""
    own = environment_beside(OWN_PACKAGES, tmp_path)
    for command in COMMANDS:
        directory = built.wheel.parent if ".whl" in command else ROOT
        run("sh", "-c", f"{own}/bin/{command}", directory=directory)
        installed = where(own)
        assert installed.startswith(str(own))
        assert (Path(installed).parent / "operators/pages/page.html").is_file()
        run("sh", "-c", f"{own}/bin/{UNINSTALL}", directory=ROOT)
        assert where(own) == ""


@pytest.mark.parametrize(
    "synapse",
    [version("matrix-synapse"), pytest.param(OLDEST, marks=pytest.mark.minutes)],
)
async def test_the_wheel_acts(built: Built, tmp_path: Path, synapse: str) -> None:
    """Without an index: Synapse has brought all that it needs."""
    packages = OWN_PACKAGES
    if synapse == OLDEST:
        oldest = environment(OLDEST, ".".join(map(str, sys.version_info[:2])))
        assert oldest is not None, f"Synapse {OLDEST} could not be installed"
        packages = packages_of(oldest)
    own = environment_beside(packages, tmp_path / "environment")
    programs = own / "bin"
    # Whatever else it needed would be missing.
    run(str(programs / "pip"), "install", "--no-index", str(built.wheel))
    assert where(own).startswith(str(own))
    homeserver = Homeserver(
        tmp_path / "homeserver", module={}, python=str(programs / "python")
    )
    async with running(homeserver):
        check = [str(programs / "synapse-withheld"), "check", "-c", "homeserver.yaml"]
        said = run(*check, directory=homeserver.log_path.parent)
    assert f"synapse   {synapse};" in said
