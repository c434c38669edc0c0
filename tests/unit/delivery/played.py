"""What tests share that play with the parts of a delivery put together."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable

import prometheus_client

from synapse_withheld.delivery.housekeeping.housekeeper import Housekeeper
from tests.model.play import NOTICE, Play

LEARN = "withheld_read_mailboxes"


def known(devices: str) -> Play:
    """Return a play in which a notice is queued for each device."""
    play = Play(devices=devices)
    play.send(NOTICE, [*devices])
    return play


def store(play: Play, content: Any) -> None:
    """Let a message be stored, and nothing else happen."""
    play.begin(content)
    for step in ("store", "stored"):
        play.hs.answer(play.step(step))


def keeper(play: Play) -> Housekeeper:
    return play.traffic.settler.housekeeper


def counting(
    play: Play, metric: prometheus_client.Counter, *labels: str
) -> Callable[[], dict[str, int]]:
    """Return what tells how much was counted from now on, by some labels."""

    def so_far() -> Counter[str]:
        counts: Counter[str] = Counter()
        for found, times in play.traffic.metrics.read(metric):
            counts[" ".join(found[each] for each in labels)] += int(times)
        return counts

    before = so_far()
    return lambda: dict(so_far() - before)
