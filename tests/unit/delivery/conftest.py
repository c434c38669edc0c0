"""What the tests of deliveries share."""

from __future__ import annotations

from itertools import count
from typing import Any, Callable, List, Tuple

import pytest

from synapse_withheld.database.database import Database
from synapse_withheld.operators.metrics import Metrics

_NUMBERS = count()

# The name of each statement, and what it is about.
Asked = List[Tuple[str, Tuple[Any, ...]]]


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics that start at zero, however often tests run in one process."""
    return Metrics(f"delivery {next(_NUMBERS)}")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return what every database is asked from now on."""
    asked: Asked = []
    run = Database._run

    async def note(
        database: Database, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        asked.append((function.__name__, arguments))
        return await run(database, function, *arguments)

    monkeypatch.setattr(Database, "_run", note)
    return asked
