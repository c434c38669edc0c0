"""How much of everything is measured."""

from __future__ import annotations

from typing import Tuple

import attrs


@attrs.frozen
class Sizes:
    notices: int = 250  # of which the cost is taken
    pairs: int = 200_000  # in the memory
    repeats: int = 60  # of each timing of code
    rounds: int = 5  # of each storm
    seconds: float = 3.0  # that a storm lasts
    # Rows that a sweep looks at, and in mailboxes, fewest first.
    backlog: Tuple[int, ...] = (10_000, 100_000, 1_000_000, 10_000_000)
    depths: Tuple[int, ...] = (10, 1_000, 1_000_000)
    table: int = 10_000_000  # rows of others beside them
    senders: int = 10_000  # to one device
    often: int = 100  # each of them
    users: int = 100_000  # that a hostile request makes up
    duplicates: int = 20_000  # devices that it makes up, or repeats a notice to
    attacks: int = 3  # of each kind


FULL = Sizes()

# Enough to see that everything runs, not for numbers.
QUICK = Sizes(
    notices=25,
    pairs=10_000,
    repeats=10,
    rounds=1,
    seconds=1.0,
    backlog=(5_000, 20_000, 20_000),
    depths=(10, 1_000, 5_000),
    table=20_000,
    senders=300,
    often=4,
    users=2_000,
    duplicates=2_000,
    attacks=1,
)
