"""What is held of every play with the parts of a delivery, and what is seen of it."""

from __future__ import annotations

from typing import Iterator

import pytest

from synapse_withheld.delivery import sorting
from synapse_withheld.delivery.confirming import confirmer
from synapse_withheld.delivery.housekeeping import learning, users
from tests.model import telling
from tests.model.play import Play

# What plays of this folder lower, too.
telling.LIMITS.update(
    MOST_ROWS=confirmer,
    MOST_LOOKED_AT=confirmer,
    MOST_SORTED=sorting,
    MOST_USERS=users,
    MOST_DEVICES=users,
    FEW=learning,
)


@pytest.fixture(autouse=True)
def _nothing_goes_wrong() -> Iterator[None]:
    """Hold that nothing overtook in a play, and nothing failed but what was broken."""
    Play.made.clear()
    yield
    for play in Play.made:
        play.check()
