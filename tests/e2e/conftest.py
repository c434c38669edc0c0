"""The Synapses that tests run on: shared by all that need nothing special."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Generator, Iterator

import pytest
from pytest_twisted import async_fixture, async_yield_fixture, blockon, ensureDeferred
from twisted.internet.defer import Deferred

from tests.harness.browser import Chromium
from tests.harness.process import tail
from tests.harness.servers.homeserver import RUNNING, Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import NewDatabase, Shelf, Stage, Two, sqlite, two_on

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.servers.postgres import PostgresServer


# For what depends on the database; statements have tests of their own on both.
on_both_databases = pytest.mark.parametrize(
    "new_database", ["sqlite", "postgres"], indirect=True
)
on_postgres = pytest.mark.parametrize("new_database", ["postgres"], indirect=True)

# Most switches otherwise than by default, so that few Synapses have to start.
SWITCHED = {
    "pages": False,
    "merge_scopes": False,
    "rules": {"withheld": True, "key_requests": "vanish", "secret_requests": True},
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run async tests in the reactor."""
    if isinstance(item, pytest.Function) and iscoroutinefunction(item.function):
        ensureDeferred(item.function)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Show the end of each running Synapse's log with a failure."""
    report = yield
    if report.failed:
        for each in RUNNING:
            log = tail(each.process.output, each.log_path)
            report.sections.append((f"End of {each.log_path}", log))
    return report


@pytest.fixture(scope="module")
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Return what makes an empty database: on SQLite, unless a test says otherwise."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return sqlite
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database


@pytest.fixture(scope="session")
def new_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("homeserver")


@pytest.fixture(scope="session")
def shelf(new_directory: Callable[[], Path]) -> Iterator[Shelf]:
    """Keep the homeservers that are shared until the last test is over."""
    shelf = Shelf(new_directory)
    yield shelf
    # It lives longer than pytest-twisted's own fixtures may.
    blockon(Deferred.fromCoroutine(shelf.end()))


def shared(module: dict[str, Any] | None) -> Any:
    """Make a fixture of a Synapse with a configuration."""

    @async_fixture()
    async def on_shelf(shelf: Shelf, new_database: NewDatabase) -> Homeserver:
        return await shelf.homeserver(new_database, module)

    return on_shelf


stock = shared(None)
homeserver = shared({})
switched = shared(SWITCHED)


async def _stage(
    new_directory: Callable[[], Path], new_database: NewDatabase
) -> AsyncIterator[Stage]:
    stage = Stage(new_directory, new_database)
    yield stage
    await stage.end()


# For Synapses of a file's own, or of a test's.
stage = async_yield_fixture(scope="module")(_stage)
own_stage = async_yield_fixture()(_stage)


@async_fixture()
async def two(homeserver: Homeserver) -> Two:
    return await two_on(homeserver)


@async_yield_fixture()
async def remote() -> AsyncIterator[RemoteServer]:
    server = RemoteServer()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    browser = Chromium.start()
    yield browser
    browser.driver.quit()
