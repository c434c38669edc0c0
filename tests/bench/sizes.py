"""How much of everything is measured."""

from __future__ import annotations

import attrs


@attrs.frozen
class Sizes:
    """How much of everything is measured.

    Attributes:
        requests: How many requests of each kind are counted.
        pairs: How many pairs the memory holds.
        repeats: How often each timing of code is repeated.
        rounds: How often each storm is repeated.
        seconds: How long a storm lasts.
        backlog: How many rows a sweep looks at, fewest first.
        depths: How many rows mailboxes have, fewest first.
        table: How many rows others have beside them.
        senders: How many users send to one device.
        often: How often each of them does.
        users: How many users a hostile request makes up.
        duplicates: How many devices it makes up, or repeats a notice to.
        attacks: How often each hostile request is made.
        quick: Whether the numbers mean nothing.
    """

    requests: int
    pairs: int
    repeats: int
    rounds: int
    seconds: float
    backlog: tuple[int, ...]
    depths: tuple[int, ...]
    table: int
    senders: int
    often: int
    users: int
    duplicates: int
    attacks: int
    quick: bool = False


FULL = Sizes(
    requests=50,
    pairs=200_000,
    repeats=60,
    rounds=5,
    seconds=3.0,
    backlog=(10_000, 100_000, 1_000_000, 10_000_000),
    depths=(10, 1_000, 1_000_000),
    table=10_000_000,
    senders=10_000,
    often=100,
    users=100_000,
    duplicates=20_000,
    attacks=3,
)

# Enough to see that everything runs, not for numbers.
QUICK = Sizes(
    requests=5,
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
    quick=True,
)
