"""How much of everything is measured."""

from __future__ import annotations

import attrs


@attrs.frozen
class Sizes:
    """How much of everything is measured.

    Attributes:
        windows: How many windows of duplicates are counted.
        notices: How many duplicates there are in each.
        devices: How many devices a large request is for.
        requests: How many requests of each kind are counted.
        pairs: How many pairs the index holds when it is full.
        weighed: How many pairs it holds when it is weighed.
        filled: How many pairs it holds, and of each mailbox, when decisions are timed.
        repeats: How often each timing of code is repeated.
        rounds: How often each storm is repeated.
        seconds: How long a storm lasts.
        most: How many requests a storm has at most.
        backlog: How many rows a sweep looks at, fewest first.
        depths: How many rows mailboxes have, fewest first.
        table: How many rows others have beside them.
        senders: How many users of another server send to one device.
        times: How often each of them does.
        often: How often, where the module's code runs alone.
        users: How many users a hostile request makes up.
        duplicates: How many devices it makes up, or repeats a notice to.
        attacks: How often each hostile request is made.
        quick: Whether the numbers mean nothing.
    """

    windows: int
    notices: int
    devices: int
    requests: int
    pairs: int
    weighed: int
    filled: tuple[tuple[int, int], ...]
    repeats: int
    rounds: int
    seconds: float
    most: int
    backlog: tuple[int, ...]
    depths: tuple[int, ...]
    table: int
    senders: int
    times: int
    often: int
    users: int
    duplicates: int
    attacks: int
    quick: bool


FULL = Sizes(
    windows=8,
    notices=25,
    devices=250,
    requests=5,
    pairs=100_000,
    weighed=1_000_000,
    filled=((10, 10), (1_000, 1_000), (20_000, 20_000), (10_000, 10), (1_000_000, 10)),
    repeats=60,
    rounds=5,
    seconds=3.0,
    most=3_000,
    backlog=(10_000, 100_000, 1_000_000, 10_000_000),
    depths=(10, 1_000, 1_000_000),
    table=10_000_000,
    senders=10_000,
    times=3,
    often=100,
    users=100_000,
    duplicates=20_000,
    attacks=3,
    quick=False,
)

# Enough to see that everything runs, not for numbers.
QUICK = Sizes(
    windows=2,
    notices=10,
    devices=250,
    requests=2,
    pairs=10_000,
    weighed=10_000,
    filled=((10, 10), (1_000, 1_000), (10_000, 10)),
    repeats=10,
    rounds=1,
    seconds=1.0,
    most=300,
    backlog=(5_000, 20_000, 20_000),
    depths=(10, 1_000, 5_000),
    table=20_000,
    senders=300,
    times=3,
    often=4,
    users=2_000,
    duplicates=2_000,
    attacks=1,
    quick=True,
)
