"""pytest-twisted's decorators, with types."""

from __future__ import annotations

from typing import Any, Callable, TypeVar, cast

import pytest_twisted

Test = TypeVar("Test", bound=Callable[..., Any])


def in_reactor(test: Test) -> Test:
    return cast("Test", pytest_twisted.ensureDeferred(test))


def async_fixture(scope: str = "function") -> Callable[[Test], Test]:
    return cast("Callable[[Test], Test]", pytest_twisted.async_fixture(scope=scope))


def async_yield_fixture(scope: str = "function") -> Callable[[Test], Test]:
    return cast(
        "Callable[[Test], Test]", pytest_twisted.async_yield_fixture(scope=scope)
    )
