"""What the tests of deliveries share."""

from __future__ import annotations

from itertools import count
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from synapse_withheld.database.database import Database
from synapse_withheld.operators.metrics import Metrics
from tests.model.faults import was_asked_for
from tests.model.play import Play

_NUMBERS = count()

# The name of each statement, and what it is about.
Asked = List[Tuple[str, Tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def _nothing_else_fails() -> Iterator[None]:
    """Hold that nothing failed in a play but what its test broke."""
    Play.made.clear()
    yield
    failures = [each for play in Play.made for each in play.failures]
    assert [] == [each for each in failures if not was_asked_for(each)]


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
