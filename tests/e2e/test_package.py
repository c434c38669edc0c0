"""What is built of a checkout: what is in it, and that it works once installed."""

from __future__ import annotations

import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from synapse_withheld.version import VERSION
from tests.compat.environments import OLDEST, environment, packages_of
from tests.e2e.test_docs import DEBIAN, PIP, ROOT
from tests.harness.commands import in_shell, run
from tests.harness.servers.homeserver import Homeserver, running

NAME = f"synapse_withheld-{VERSION}"
WHEEL = f"{NAME}-py3-none-any.whl"
# The packages of the environment that the tests run in.
OWN_PACKAGES = Path(sysconfig.get_paths()["purelib"])


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build as `make dist` does: an sdist of a checkout, and a wheel of that sdist."""
    directory = tmp_path_factory.mktemp("dist")
    run(f"{sys.executable} -m build --no-isolation --outdir {directory}", ROOT)
    return directory


@pytest.fixture(scope="module")
def unpacked(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        archive.extractall(directory)  # noqa: S202 our own
    return directory / NAME


def environment_beside(packages: Path, directory: Path) -> Path:
    """Make an environment that sees other packages, but not what is editable there."""
    run(f"{sys.executable} -m venv {directory}", ROOT)
    (own,) = directory.glob("lib/python*/site-packages")
    (own / "synapse.pth").write_text(f"{packages}\n")
    return directory


def where(environment: Path) -> str:
    """Return where an environment has the module, empty if nowhere."""
    code = "import synapse_withheld; print(synapse_withheld.__file__)"
    return in_shell(f"bin/python -c '{code}'", environment).stdout.strip()


def files_of(directory: Path, folder: str) -> set[str]:
    return {
        str(each.relative_to(directory))
        for each in (directory / folder).rglob("*")
        if each.is_file() and each.parent.name != "__pycache__"
    }


def test_what_is_built_holds_what_it_should(dist: Path, unpacked: Path) -> None:
    """No test in the wheel, and nothing in the sdist that only lies about here."""
    about = {"METADATA", "RECORD", "WHEEL", "entry_points.txt"}
    about = {f"{NAME}.dist-info/{each}" for each in about}
    names = zipfile.ZipFile(dist / WHEEL).namelist()
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
    run(f"{sys.executable} -m pytest -q --collect-only", unpacked)
    run(f"{sys.executable} -m pytest -q tests/unit tests/model", unpacked)


# Debian's package has a pip of its own; it is the same program.
COMMANDS = {each.replace(DEBIAN, "") for each in PIP}
(UNINSTALL,) = (each for each in COMMANDS if "uninstall" in each)
COMMANDS.remove(UNINSTALL)


def test_commands_install_and_uninstall(dist: Path, tmp_path: Path) -> None:
    """In an environment with Synapse, from a checkout or beside the wheel."""
    own = environment_beside(OWN_PACKAGES, tmp_path)
    for command in COMMANDS:
        run(f"{own}/bin/{command}", dist if ".whl" in command else ROOT)
        installed = where(own)
        assert installed.startswith(str(own))
        assert (Path(installed).parent / "operators/pages/page.html").is_file()
        run(f"{own}/bin/{UNINSTALL}", ROOT)
        assert where(own) == ""


@pytest.mark.parametrize(
    "synapse",
    [version("matrix-synapse"), pytest.param(OLDEST, marks=pytest.mark.minutes)],
)
async def test_the_wheel_acts(dist: Path, tmp_path: Path, synapse: str) -> None:
    """Without an index: Synapse has brought all that it needs."""
    packages = OWN_PACKAGES
    if synapse == OLDEST:
        oldest = environment(OLDEST, ".".join(map(str, sys.version_info[:2])))
        assert oldest is not None, f"Synapse {OLDEST} could not be installed"
        packages = packages_of(oldest)
    own = environment_beside(packages, tmp_path / "environment")
    # Whatever else it needed would be missing.
    run(f"{own}/bin/pip install --no-index {dist / WHEEL}", ROOT)
    directory = tmp_path / "homeserver"
    homeserver = Homeserver(directory, module={}, python=f"{own}/bin/python")
    async with running(homeserver):
        said = run(f"{own}/bin/synapse-withheld check -c homeserver.yaml", directory)
    assert f"synapse   {synapse};" in said
