"""A second Synapse module, for tests only: it makes the first one's statements fail.

A JSON file in the homeserver's directory says how, and can change while Synapse
runs: `{"fault": "error"}`, `{"fault": "hang", "seconds": 3}` or
`{"fault": "close"}`, with `"only"` to name the statements meant by the beginning
of their description. Without the file nothing fails.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

from tests.harness.modules.json_file import JsonFile

OURS = "withheld_"


class Faults(JsonFile):
    """The file through which a test says what fails."""

    def set(self, fault: str, *, only: str = OURS, seconds: float = 0.0) -> None:
        self.write(fault=fault, only=only, seconds=seconds)

    def module(self, most_rest_s: float) -> dict[str, Any]:
        """Return the entry for `modules:` in `homeserver.yaml`.

        Args:
            most_rest_s: For how long the module rests at most after statements that
                failed, in seconds.
        """
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
            pool: Any, desc: str, func: Callable[..., Any], *args: Any, **named: Any
        ) -> Any:
            def faulty(txn: Any, *inner: Any, **more: Any) -> Any:
                faults.meet(desc, txn)
                return func(txn, *inner, **more)

            ours = faulty if desc.startswith(OURS) else func
            return original(pool, desc, ours, *args, **named)

        DatabasePool.runInteraction = run_interaction  # type: ignore[method-assign]
        return faults
