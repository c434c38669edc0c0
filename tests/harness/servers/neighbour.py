"""Another Synapse module, for tests only: it wraps the methods that ours wraps.

It does so as careless modules do, by assignment to the store and without
`functools.wraps`, and writes down what it sees. A JSON file says how else it behaves
and can change while Synapse runs: `{"copy": "deep"}` to pass on a copy of what it was
given, `{"refuse": TYPE}` to raise for messages of a type; both with `"at"`, the one
method meant.
"""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any, Callable

from tests.harness.servers.faults import JsonFile

FROM_REMOTE = "add_messages_from_remote_to_device_inbox"
LOCAL = "add_local_messages_from_client_to_device_inbox"
REMOTE = "add_remote_messages_from_client_to_device_inbox"
ROWS = "_add_messages_to_local_device_inbox_txn"

# Which of them a method stands for: its last arguments are what they are given.
WRAPPED = {
    **{name: [name] for name in (FROM_REMOTE, LOCAL, REMOTE, ROWS)},
    # Before 1.155.
    "add_messages_to_device_inbox": [LOCAL, REMOTE],
}


class Neighbour:
    """The files in a directory through which a test and a neighbour speak."""

    def __init__(self, directory: Path, name: str) -> None:
        self._config = {"directory": str(directory), "name": name}
        self._behaviour = JsonFile(directory / f"{name}.json")
        self._log = directory / f"{name}.log"

    def module(self) -> dict[str, Any]:
        return {"module": f"{__name__}.NeighbourModule", "config": self._config}

    def behave(self, **behaviour: str) -> None:
        """Behave in some way from now on; in none, only look on."""
        self._behaviour.write(**behaviour)

    def saw(self, method: str, recipient: str) -> list[Any]:
        """Return what a method was given for a user, in order, as it was given."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [
            messages
            for called, given in map(json.loads, lines)
            for messages in found(given, recipient)
            if called == method
        ]

    def pass_on(self, method: str, given: dict[str, Any]) -> dict[str, Any]:
        """Write down what a method is given, and return what to give it."""
        # Only Synapse's process has any use for it.
        from synapse.api.errors import SynapseError  # noqa: PLC0415

        with self._log.open("a") as log:
            log.write(json.dumps([method, given]) + "\n")
        behaviour = self._behaviour.read()
        if behaviour.get("at") != method:
            return given
        if behaviour.get("refuse") in found(given, "type"):
            raise SynapseError(403, "not in this neighbourhood")
        return copy.deepcopy(given) if "copy" in behaviour else given


class NeighbourModule:
    """Wraps what queues to-device messages, to look on."""

    def __init__(self, config: Neighbour, api: Any) -> None:
        """Wrap those of the methods that this version of Synapse has."""
        store = api._hs.get_datastores().main
        for method, names in WRAPPED.items():
            if hasattr(store, method):
                original = getattr(store, method)
                setattr(store, method, partial(_look_on, config, original, names))

    @staticmethod
    def parse_config(config: dict[str, Any]) -> Neighbour:
        return Neighbour(Path(config["directory"]), config["name"])


def _look_on(
    neighbour: Neighbour, original: Callable[..., Any], names: list[str], *given: Any
) -> Any:
    others, messages = given[: -len(names)], given[-len(names) :]
    return original(*others, *map(neighbour.pass_on, names, messages))


def found(given: Any, key: str) -> list[Any]:
    if not isinstance(given, dict):
        return []
    inside = [each for value in given.values() for each in found(value, key)]
    return [given[key]] if key in given else inside
