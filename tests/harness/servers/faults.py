"""Synapse modules, for tests only, that let things fail where a test says."""

from __future__ import annotations

import functools
import inspect
import json
import os
import signal
import time
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


OURS = "withheld_"


class Faults(JsonFile):
    """The file through which a test says what statements meet."""

    def set(self, fault: str, *, only: str = OURS, seconds: float = 0.0) -> None:
        self.write(fault=fault, only=only, seconds=seconds)

    def module(self, most_rest_s: float) -> dict[str, Any]:
        """Return the entry for `modules:`, by which ours rests so long at most."""
        config = {"file": str(self.path), "most_rest_s": most_rest_s}
        return {"module": f"{__name__}.FaultsModule", "config": config}

    def meet(self, description: str, txn: Any) -> None:
        """Do in the database thread what a statement is to meet."""
        fault = self.read()
        if not fault or not description.startswith(fault["only"]):
            return
        if fault["fault"] == "error":
            txn.execute("SELECT missing FROM withheld_no_such_table", ())
        elif fault["fault"] == "hang":
            time.sleep(fault["seconds"])
        else:
            # The cursor's connection, as a database that went away leaves it.
            txn.txn.connection.close()


class FaultsModule:
    """Wraps how Synapse runs statements; does nothing else."""

    def __init__(self, config: Faults, api: object) -> None:
        """Do nothing: the work is done when the configuration is read."""

    @staticmethod
    def parse_config(config: dict[str, Any]) -> Faults:
        """Wrap `runInteraction`, before any other module can have taken hold of it."""
        # Only Synapse's process has any use for these.
        from synapse.storage.database import DatabasePool  # noqa: PLC0415

        from synapse_withheld.delivery.confirming import confirmer  # noqa: PLC0415

        confirmer.MOST_REST_S = config["most_rest_s"]
        faults = Faults(Path(config["file"]))
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


_TRAFFIC = "synapse_withheld.delivery.traffic Traffic"
_DATABASE = "synapse_withheld.database.database Database"
_CONFIRMER = "synapse_withheld.delivery.confirming.confirmer Confirmer"
_SETTLER = "synapse_withheld.delivery.settling Settler"
_STORE = "synapse.storage.databases.main.deviceinbox DeviceInboxWorkerStore"

# Where: the module, class and method, and whether before or after it.
POINTS = {
    "sorting": (f"{_TRAFFIC} _sort", "before"),
    "sorted": (f"{_TRAFFIC} _sort", "after"),
    "asking": (f"{_DATABASE} read_queued", "before"),
    "answered": (f"{_DATABASE} read_queued", "after"),
    "judging": (f"{_CONFIRMER} _judge", "before"),
    "taking out": (f"{_SETTLER} take_out", "after"),
    # Rows are written, and the transaction is not committed.
    "storing": (f"{_STORE} _add_messages_to_local_device_inbox_txn", "after"),
    "stored": (f"{_TRAFFIC} _settle", "before"),
    "remembered": (f"{_TRAFFIC} _settle", "after"),
    "tidying": (f"{_DATABASE} delete", "before"),
    "tidied": (f"{_DATABASE} delete", "after"),
}

# How often a point is passed before anything happens there.
PASSES = 3


class Disasters(JsonFile):
    """The file through which a test says what happens."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._busy = JsonFile(path.with_suffix(".busy"))
        self._passed = 0

    set, get = JsonFile.write, JsonFile.read

    def times_busy(self) -> int:
        return int(self._busy.read().get("times", 0))

    def module(self) -> dict[str, Any]:
        config = {"file": str(self.path)}
        return {"module": f"{__name__}.DisastersModule", "config": config}

    async def be_busy(self) -> None:
        """Keep the reactor of Synapse's process busy, if that is asked for."""
        if seconds := self.read().get("busy_s"):
            time.sleep(seconds)
            self._busy.write(times=self.times_busy() + 1)

    def meet(self, point: str) -> None:
        """Do in Synapse's process what is to happen at a point, after a few passes."""
        disaster = self.read()
        if point not in {disaster.get("kill_at"), disaster.get("raise_at")}:
            return
        self._passed += 1
        if self._passed < PASSES:
            return
        # Once: the process that is started next lives.
        self.clear()
        if disaster.get("kill_at") == point:
            os.kill(os.getpid(), signal.SIGKILL)
        self._passed = 0
        raise MemoryError


class DisastersModule:
    """Wraps the steps of ours, and the clock."""

    def __init__(self, config: Disasters, api: Any) -> None:
        api.looping_background_call(config.be_busy, 20, desc="disasters")

    @staticmethod
    def parse_config(config: dict[str, Any]) -> Disasters:
        """Wrap everything, before any other module can have taken hold of it."""
        disasters = Disasters(Path(config["file"]))
        for point in POINTS:
            _wrap(disasters, point)
        right = time.time
        time.time = lambda: right() + disasters.read().get("clock_s", 0)
        return disasters


def _wrap(disasters: Disasters, point: str) -> None:
    place, when = POINTS[point]
    module, owner, name = place.split()
    there = getattr(import_module(module), owner)
    original: Callable[..., Any] = getattr(there, name)

    async def meet_after(result: Awaitable[Any]) -> Any:
        done = await result
        disasters.meet(point)
        return done

    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            disasters.meet(point)
        result = original(*args, **kwargs)
        if when == "after" and inspect.isawaitable(result):
            return meet_after(result)
        if when == "after":
            disasters.meet(point)
        return result

    setattr(there, name, wrapper)
