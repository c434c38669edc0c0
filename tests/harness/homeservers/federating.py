"""Synapses that really federate, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.harness.homeservers import settings
from tests.harness.homeservers.certificate import self_signed
from tests.harness.homeservers.homeserver import Homeserver


def federating(directory: Path, module: dict[str, Any] | None = None) -> Homeserver:
    """Return a Synapse that other servers reach over TLS; nothing runs yet.

    Its name is its address with the port: so nobody asks outside where it is.
    """
    directory.mkdir(parents=True, exist_ok=True)
    [port] = settings.free(1)
    config = {
        "listeners": [{**settings.listener(port, "http", ["federation"]), "tls": True}],
        **self_signed().configuration(directory),
    }
    name = f"{settings.LOOPBACK}:{port}"
    return Homeserver(directory, module=module, config=config, server_name=name)
