"""How long the module's own code takes with ordinary messages, without Synapse."""

from __future__ import annotations

import time
from pathlib import Path
from timeit import Timer
from typing import Any, Callable

from synapse_withheld.cli.shared.explaining.mailboxes import Mailboxes
from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.wrappers import to_local
from tests.bench.alone.inbox import module_before
from tests.bench.instruments.people import SENDER_KEY, content
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_message,
    make_notice,
)
from tests.harness.rules import EVERY_RULE

LARGE = 1_000
SENDER = "@sender0:withheld.test"

# In microseconds per message.
MOST_US = {PLAIN: 2.0, ENCRYPTED: 3.0}

# How long one repeat takes, in seconds: long enough for the clock, short enough
# that some repeats are not interrupted by anything else on the machine.
REPEAT_S = 0.005

_HEADER = ("type", "pairs remembered", "messages in batch", "microseconds each")
_HOW = (
    "In-process, without Synapse, every rule on, less the time of the call that "
    "stores nothing; best of {} repeats. 'of these': every message re-arms a pair."
)


async def measure(_: Path, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    """Time all kinds of ordinary messages, with an empty and with a full memory."""
    say("Timing the module's own code.")
    states = (
        ("0", make_traffic(0), "@stranger:withheld.test"),
        (f"{sizes.pairs:,}, of others", make_traffic(sizes.pairs), SENDER + "x"),
        (f"{sizes.pairs:,}, of these", make_traffic(sizes.pairs), SENDER),
    )
    rows, targets = [], []
    for kind, most_us in MOST_US.items():
        for size in (LARGE, 1):
            slowest = 0.0
            for remembered, traffic, sender in states:
                batch = make_batch(kind, sender, size)
                us = time_batch(traffic, batch, sizes.repeats) / size
                slowest = max(slowest, us)
                rows.append((kind, remembered, f"{size:,}", f"{us:.3f}"))
            name = f"own code, µs per {kind}, batch of {size:,}, slowest state"
            targets.append(Target.most(name, slowest, most_us))
    title = "The module's own code, microseconds per ordinary message"
    notes = [_HOW.format(sizes.repeats)]
    return Findings([Table(title, _HEADER, rows, notes)], targets)


def make_traffic(pairs: int) -> Traffic:
    """Wire the module; remember pairs of many senders in `LARGE` mailboxes."""
    traffic = module_before(Mailboxes(), Config(rules=EVERY_RULE), "bench")
    memory = traffic.inbox.memory
    for number in range(LARGE if pairs else 0):
        key = mailbox(number)
        memory.open(key, 0)
        for which in range(pairs // LARGE):
            sender = f"@sender{which}:withheld.test"
            notice = traffic.inbox.rules.read(
                sender, WITHHELD, make_notice(SENDER_KEY, "DEV")
            )
            assert notice is not None
            memory.settle(memory.begin(key, notice, sender, 0, 0.0), which + 1)
    assert memory.pairs == pairs
    return traffic


def mailbox(number: int) -> tuple[str, str]:
    return (f"@recipient{number}:withheld.test", "AWAY")


def make_batch(kind: str, sender: str, size: int) -> LocalMessages:
    batch: LocalMessages = {}
    for number in range(size):
        user_id, device_id = mailbox(number)
        batch[user_id] = {device_id: make_message(sender, content(kind), kind)}
    return batch


async def write(local: LocalMessages, edus: Edus | None = None) -> int:  # noqa: ARG001
    """Stand for Synapse's method, which here writes nothing."""
    return 1


def time_batch(traffic: Traffic, batch: LocalMessages, repeats: int) -> float:
    """Return the microseconds that our code adds to storing a batch."""
    wrapped: Callable[[LocalMessages], Any]
    wrapped = to_local(traffic, lambda: 0, write)
    steps = (lambda: driven(write(batch)), lambda: driven(wrapped(batch)))
    # Of this thread alone: others run on this machine too.
    timers = [Timer(step, timer=time.thread_time) for step in steps]
    loops = [max(1, int(REPEAT_S / (timer.timeit(20) / 20))) for timer in timers]
    best = [float("inf")] * len(timers)
    # In turns, so that a change of the clock's rate meets both.
    for _ in range(repeats):
        for which, timer in enumerate(timers):
            seconds = timer.timeit(loops[which]) / loops[which]
            best[which] = min(best[which], seconds * 1e6)
    alone, whole = best
    return whole - alone
