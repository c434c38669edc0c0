"""What is held of every play with the parts of a delivery, and what is seen of it."""

from __future__ import annotations

from typing import Any, Callable, Iterator

import pytest

from synapse_withheld.database.database import Database
from tests.model.faults import was_asked_for
from tests.model.play import Play
from tests.unit.delivery.played import Asked


@pytest.fixture(autouse=True)
def _nothing_else_fails() -> Iterator[None]:
    """Hold that nothing failed in a play but what its test broke."""
    Play.made.clear()
    yield
    failures = [each for play in Play.made for each in play.failures]
    assert [] == [each for each in failures if not was_asked_for(each)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return what tells of a statement, by its name, what it asked about each time."""
    statements: list[tuple[str, list[Any]]] = []
    run = Database._run

    async def note(
        database: Database, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        keys = next(each for each in arguments if not isinstance(each, str))
        statements.append((function.__name__, [*keys]))
        return await run(database, function, *arguments)

    monkeypatch.setattr(Database, "_run", note)
    return lambda name: [keys for each, keys in statements if each == name]
