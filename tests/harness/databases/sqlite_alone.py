"""For tests that are about no database: instead of the fixture that gives each kind."""

from __future__ import annotations

from typing import Any, Callable

import pytest


@pytest.fixture(scope="module")
def new_database() -> Callable[[], dict[str, Any] | None]:
    """Let a module of tests run on SQLite alone."""
    return lambda: None
