"""Synapses that really federate, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.harness.homeservers import settings
from tests.harness.homeservers.certificate import self_signed
from tests.harness.homeservers.homeserver import Homeserver


def federating(
    directory: Path,
    module: dict[str, Any] | None = None,
    database: dict[str, Any] | None = None,
) -> Homeserver:
    """Return a Synapse that other servers reach over TLS; nothing runs yet.

    Its name is its address with the port: so nobody asks outside where it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    [port] = settings.free(1)
    config = {
        "listeners": [{**settings.listener(port, "http", ["federation"]), "tls": True}],
        **self_signed().configuration(directory),
    }
    return Homeserver(
        directory,
        module=module,
        database=database,
        config=config,
        server_name=f"{settings.LOOPBACK}:{port}",
    )


def in_order(database: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a `database:` section with which messages are stored as they arrive.

    Synapse works on ten messages of another server at a time. With several
    connections to PostgreSQL they overtake each other, even those of one sender;
    what is left then depends on chance. SQLite has one connection anyway.
    """
    if database is None or database["name"] == "sqlite3":
        return database
    return {**database, "args": {**database["args"], "cp_min": 1, "cp_max": 1}}
