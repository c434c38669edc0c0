"""pytest-twisted's decorators: run an async test or fixture in the reactor."""

from pytest_twisted import async_fixture, async_yield_fixture, ensureDeferred

__all__ = ["async_fixture", "async_yield_fixture", "in_reactor"]

in_reactor = ensureDeferred
