"""Synapse modules, for tests only: what fails where a test says, and a neighbour."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import os
import signal
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Awaitable, Callable, cast


class JsonFile:
    """A JSON object that may be there, and can change at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **content: Any) -> None:
        """Write it in one step, so that Synapse never reads half of it."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(content))
        temporary.replace(self.path)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """Return what it says: nothing if it is not there."""
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return content


_DELIVERY = "synapse_withheld.delivery"
_DATABASE = "synapse_withheld.database.database Database"
_STORE = "synapse.storage.databases.main.deviceinbox DeviceInboxWorkerStore"

# The points before and after a method, given its module and class.
METHODS = {
    f"{_DELIVERY}.traffic Traffic _sort": ("sorting", ""),
    f"{_DATABASE} read_queued": ("", "answered"),
    # Rows are written, and the transaction is not committed.
    f"{_STORE} _add_messages_to_local_device_inbox_txn": ("", "storing"),
    f"{_DELIVERY}.traffic Traffic _settle": ("stored", ""),
    f"{_DATABASE} delete": ("tidying", "tidied"),
}
DEADLY = [point for around in METHODS.values() for point in around if point]

# How often a point is passed before anything happens there.
PASSES = 3

# All of the module's statements; how long one hangs, and how long the module then
# rests at most, in seconds.
OURS = "withheld_"
HANGS_S, MOST_REST_S = 1.5, 2.0


class Faults(JsonFile):
    """The file through which a test says what happens in Synapse's process.

    Once, and then it is gone: `kill_at` a point, or `busy_s`, for which Synapse does
    nothing. As long as it is there: `clock_s`, by which the clock is wrong, or
    `statement`, by which each whose name begins with `only` meets an `error`, a `hang`
    or the `close` of its connection.
    """

    _passed = 0

    def module(self) -> dict[str, Any]:
        config = {"file": str(self.path)}
        return {"module": f"{__name__}.FaultsModule", "config": config}

    async def be_busy(self) -> None:
        if seconds := self.read().get("busy_s"):
            time.sleep(seconds)
            self.clear()

    def pass_by(self, point: str) -> None:
        if not point or point != self.read().get("kill_at"):
            return
        self._passed += 1
        if self._passed == PASSES:
            # Before the end: the process that is started next lives.
            self.clear()
            os.kill(os.getpid(), signal.SIGKILL)

    def meet(self, description: str, txn: Any) -> None:
        """Do in the database thread what a statement is to meet."""
        fault = self.read()
        if not ("only" in fault and description.startswith(fault["only"])):
            return
        if fault["statement"] == "error":
            txn.execute("SELECT missing FROM withheld_no_such_table", ())
        elif fault["statement"] == "hang":
            time.sleep(HANGS_S)
        else:
            # The cursor's connection, as a database that went away leaves it.
            txn.txn.connection.close()


class FaultsModule:
    """Wraps the steps of ours, its statements, and the clock."""

    def __init__(self, config: Faults, api: Any) -> None:
        api.looping_background_call(config.be_busy, 20, desc="faults")

    @staticmethod
    def parse_config(config: dict[str, Any]) -> Faults:
        """Wrap everything, before any other module can have taken hold of it."""
        # Only Synapse's process has any use for these.
        from synapse.storage.database import DatabasePool  # noqa: PLC0415

        from synapse_withheld.delivery.confirming import confirmer  # noqa: PLC0415

        faults = Faults(Path(config["file"]))
        confirmer.MOST_REST_S = MOST_REST_S
        right = time.time
        time.time = lambda: right() + faults.read().get("clock_s", 0)
        for method in METHODS:
            _wrap(faults, method)
        original: Any = DatabasePool.runInteraction

        def run_interaction(
            pool: Any, desc: str, func: Any, *args: Any, **named: Any
        ) -> Any:
            def faulty(txn: Any, *inner: Any, **more: Any) -> Any:
                faults.meet(desc, txn)
                return func(txn, *inner, **more)

            return original(pool, desc, faulty, *args, **named)

        cast("Any", DatabasePool).runInteraction = run_interaction
        return faults


def _wrap(faults: Faults, method: str) -> None:
    before, after = METHODS[method]
    module, owner, name = method.split()
    there = getattr(import_module(module), owner)
    original = getattr(there, name)

    async def later(result: Awaitable[Any]) -> Any:
        done = await result
        faults.pass_by(after)
        return done

    @functools.wraps(original)
    def wrapper(*args: Any, **named: Any) -> Any:
        faults.pass_by(before)
        result = original(*args, **named)
        if inspect.isawaitable(result):
            return later(result)
        faults.pass_by(after)
        return result

    setattr(there, name, wrapper)


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
    """The files through which a test and a module that wraps what ours wraps speak.

    It does so as careless modules do, by assignment to the store and without
    `functools.wraps`, and writes down what it sees.
    """

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
