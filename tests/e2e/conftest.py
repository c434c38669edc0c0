"""One running Synapse for all tests that need nothing special, per database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Generator, Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import RUNNING, Stage, Two, two_on, with_bridge
from tests.harness.reactor import async_fixture, async_yield_fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.databases.postgres import PostgresServer
    from tests.harness.homeservers.homeserver import Homeserver

DATABASES = ("sqlite", "postgres")

NewDatabase = Callable[[], "dict[str, Any] | None"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Show the end of each running Synapse's log with a failure."""
    report = yield
    if report.failed:
        for homeserver in RUNNING:
            title = f"End of {homeserver.log_path}"
            report.sections.append((title, homeserver.log_tail()))
    return report


@pytest.fixture(scope="session", params=DATABASES)
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Return what makes an empty database: each test runs on each kind."""
    if request.param == "sqlite":
        return lambda: None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database


@pytest.fixture(scope="session")
def new_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return what makes an empty directory for a homeserver."""
    return lambda: tmp_path_factory.mktemp("homeserver")


@pytest.fixture(scope="session")
def homeserver(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> Iterator[Homeserver]:
    """Run a Synapse with the module as it is by default."""
    stage = Stage(new_directory, new_database)
    config = {
        "experimental_features": {"msc3814_enabled": True, "msc2697_enabled": False},
        **with_bridge(new_directory()),
    }
    try:
        yield _wait_for(stage.start({}, config))
    finally:
        _wait_for(stage.end())


@pytest.fixture(scope="module")
def own_postgres(
    postgres: PostgresServer,  # noqa: ARG001 skips where there is none
    new_directory: Callable[[], Path],
) -> Iterator[PostgresServer]:
    """Run a PostgreSQL for one module: others' Synapses would not like a restart."""
    from tests.harness.databases.postgres import PostgresServer  # noqa: PLC0415 missing?

    server = PostgresServer(new_directory() / "postgres")
    try:
        yield server
    finally:
        server.stop()


@async_yield_fixture(scope="module")
async def stage(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> AsyncIterator[Stage]:
    """Start Synapses of a test module's own; they stop after its last test."""
    stage = Stage(new_directory, new_database)
    try:
        yield stage
    finally:
        await stage.end()


@async_yield_fixture()
async def own_stage(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> AsyncIterator[Stage]:
    """Start Synapses of a test's own; they stop after it."""
    stage = Stage(new_directory, new_database)
    try:
        yield stage
    finally:
        await stage.end()


@async_fixture()
async def two(homeserver: Homeserver) -> Two:
    """Register a sender and a recipient on the shared homeserver."""
    return await two_on(homeserver)


@async_yield_fixture()
async def remote() -> AsyncIterator[RemoteServer]:
    """Run a remote homeserver."""
    server = RemoteServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _wait_for(coroutine: Any) -> Any:
    """Wait in a fixture that lives longer than pytest-twisted's own may."""
    return pytest_twisted.blockon(Deferred.fromCoroutine(coroutine))
