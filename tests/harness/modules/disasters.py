"""A Synapse module, for tests only: it lets disasters happen where a test says.

A JSON file in the homeserver's directory says which, and can change while Synapse runs:
`{"kill_at": POINT}` kills the process at a step of ours, `{"raise_at": POINT}` lets
memory end there, `{"busy_s": 0.5}` keeps the reactor busy for so long again and again,
and `{"clock_s": 86400}` is how wrong the clock is.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import Any, Awaitable, Callable

from tests.harness.modules.json_file import JsonFile

_TRAFFIC = "synapse_withheld.delivery.traffic Traffic"
_DATABASE = "synapse_withheld.database.database Database"
_STORE = "synapse.storage.databases.main.deviceinbox DeviceInboxWorkerStore"

# Where: the module, class and method, and whether before or after it.
POINTS = {
    "sorting": (f"{_TRAFFIC} _sort", "before"),
    "sorted": (f"{_TRAFFIC} _sort", "after"),
    "asking": (f"{_DATABASE} read_queued", "before"),
    "answered": (f"{_DATABASE} read_queued", "after"),
    "judging": (
        "synapse_withheld.delivery.confirming.confirmer Confirmer _judge",
        "before",
    ),
    "taking out": ("synapse_withheld.delivery.settling Settler take_out", "after"),
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
        """Begin to keep the reactor busy, if that is asked for."""
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
            return original(*args, **kwargs)
        result = original(*args, **kwargs)
        if inspect.isawaitable(result):
            return meet_after(result)
        disasters.meet(point)
        return result

    setattr(there, name, wrapper)
