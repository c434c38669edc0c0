"""Another Synapse module, for tests only: it wraps the methods that ours wraps.

It does so as careless modules do, by assignment to the store and without
`functools.wraps`, and writes down what it sees. A JSON file, which can change while
Synapse runs, says in which of them it passes on a copy of what it is given, or refuses.
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
ROWS = "_add_messages_to_local_device_inbox_txn"

# What each stands for, and which of its arguments are the messages.
WRAPPED = {
    **{name: (name, -1) for name in (FROM_REMOTE, LOCAL, ROWS)},
    # Before 1.155.
    "add_messages_to_device_inbox": (LOCAL, 0),
}


class Neighbour:
    """The files in a directory through which a test and a neighbour speak."""

    def __init__(self, directory: Path, name: str) -> None:
        self._config = {"directory": str(directory), "name": name}
        self._behaviour = JsonFile(directory / f"{name}.json")
        self._log = directory / f"{name}.log"
        self._log.touch()

    def module(self) -> dict[str, Any]:
        return {"module": f"{__name__}.NeighbourModule", "config": self._config}

    def behave(self, at: str = "", does: str = "") -> None:
        """From now on "copy" or "refuse" what one method is given, or only look on."""
        self._behaviour.write(at=at, does=does)

    def saw(self, method: str, recipient: str) -> list[Any]:
        """Return what a method was given for a user, in order, as it was given."""
        lines = map(json.loads, self._log.read_text().splitlines())
        return [
            given[recipient]
            for called, given in lines
            if called == method and recipient in given
        ]

    def look_on(
        self, method: str, place: int, original: Callable[..., Any], *given: Any
    ) -> Any:
        # Only Synapse's process has any use for it.
        from synapse.api.errors import SynapseError  # noqa: PLC0415

        passed_on = [*given]
        with self._log.open("a") as log:
            log.write(json.dumps([method, given[place]]) + "\n")
        behaviour = self._behaviour.read()
        if behaviour.get("at") == method:
            if behaviour["does"] == "refuse":
                raise SynapseError(403, "not in this neighbourhood")
            passed_on[place] = copy.deepcopy(given[place])
        return original(*passed_on)


class NeighbourModule:
    """Wraps what queues to-device messages, to look on."""

    def __init__(self, config: Neighbour, api: Any) -> None:
        """Wrap those of the methods that this version of Synapse has."""
        store = api._hs.get_datastores().main
        for name, stands_for in WRAPPED.items():
            if hasattr(store, name):
                wrapped = partial(config.look_on, *stands_for, getattr(store, name))
                setattr(store, name, wrapped)

    @staticmethod
    def parse_config(config: dict[str, Any]) -> Neighbour:
        return Neighbour(Path(config["directory"]), config["name"])
