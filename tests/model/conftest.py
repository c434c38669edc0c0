"""What is held at the end of every play."""

from __future__ import annotations

from typing import Iterator

import pytest

from tests.model.play import Play


@pytest.fixture(autouse=True)
def _ended_in_order() -> Iterator[None]:
    """Let each play come to rest: nothing overtook, and a sweep finds nothing."""
    Play.made.clear()
    yield
    for play in Play.made:
        play.end()
