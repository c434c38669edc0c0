"""Very many senders to one device, again and again, on mailboxes in memory.

A Synapse would take hours for as many; here the module's own code decides, and its
statements are those that a Synapse would run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

import attrs
from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.shared.explaining.mailboxes import Mailboxes
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.wiring import wire
from tests.bench.report import Findings, Table, Target, ratio
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import WITHHELD, make_key, make_notice

RECIPIENT = ("@recipient:withheld.test", "AWAY")
# At most so much more in the last round than in the second.
FLAT = 1.2


class Counting(Mailboxes):
    """Mailboxes that count the statements of the module."""

    def __init__(self) -> None:
        """Start with one device."""
        super().__init__()
        self.add_device(RECIPIENT)
        self.statements = 0

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Count a statement, and run it."""
        self.statements += 1
        return await super().run_statement(description, function, *arguments)


@attrs.frozen
class Rounds:
    """What the rounds took, in each of which every sender sends one notice.

    Attributes:
        us: Microseconds per notice, by round.
        statements: The module's for a notice of the last round.
        left: How many rows are queued in the end.
        grown: By how many bytes the memory of the process grew.
    """

    us: list[float]
    statements: float
    left: int
    grown: int


def measure(sizes: Sizes) -> Findings:
    """Let many senders send often, to stock mailboxes and through the module."""
    lanes = {name: _rounds(name == "module", sizes) for name in ("stock", "module")}
    rows = [
        (
            name,
            f"{sizes.senders * sizes.often:,}",
            f"{each.left:,}",
            f"{each.us[1]:.0f}",
            f"{each.us[-1]:.0f}",
            f"{each.statements:.1f}",
            f"{each.grown / 1e6:.0f}",
        )
        for name, each in lanes.items()
    ]
    header = (
        "",
        "notices",
        "rows left",
        "second round, µs",
        "last round, µs",
        "its statements",
        "memory grew by MB",
    )
    how = (
        f"{sizes.senders:,} senders to one device, {sizes.often} rounds, in one "
        "process with SQLite in memory; the rows are in that memory too. Microseconds "
        "and the module's statements are per notice."
    )
    module = lanes["module"]
    growth = module.us[-1] / module.us[1]
    return Findings(
        [Table("One device, very many senders, very often", header, rows, [how])],
        [
            Target(
                "very often: rows left, of senders",
                "1",
                ratio(module.left, sizes.senders),
                module.left == sizes.senders,
                binding=True,
            ),
            Target(
                "very often: last round, to the second",
                f"≤ {FLAT}",
                f"{growth:.2f}",
                growth <= FLAT,
                binding=False,
            ),
        ],
    )


def _rounds(with_module: bool, sizes: Sizes) -> Rounds:
    mailboxes = Counting()
    send = _through_module(mailboxes) if with_module else _straight(mailboxes)
    batches = [_batch(number) for number in range(sizes.senders)]
    before, us = _resident(), []
    for _ in range(sizes.often):
        statements, began = mailboxes.statements, time.thread_time()
        for batch in batches:
            send(batch)
        us.append(1e6 * (time.thread_time() - began) / sizes.senders)
    return Rounds(
        us,
        (mailboxes.statements - statements) / sizes.senders,
        mailboxes.count(),
        _resident() - before,
    )


def _straight(mailboxes: Mailboxes) -> Callable[[LocalMessages], None]:
    def send(batch: LocalMessages) -> None:
        ensureDeferred(mailboxes.store(batch))

    return send


def _through_module(mailboxes: Mailboxes) -> Callable[[LocalMessages], None]:
    tally = Tally(mailboxes.runtime().seconds)
    traffic = wire(Config(), mailboxes, Metrics("crowd"), tally)

    async def write(kept: LocalMessages, _: Edus) -> None:
        # Of nothing Synapse's code for writing is not entered.
        if kept:
            await mailboxes.store(kept)

    def send(batch: LocalMessages) -> None:
        ensureDeferred(traffic.store(batch, {}, write))
        mailboxes.come_to_rest()

    return send


def _batch(number: int) -> LocalMessages:
    sender = f"@sender{number}:withheld.test"
    content = make_notice(make_key(sender), f"DEVICE{number}")
    user_id, device_id = RECIPIENT
    message = {"content": content, "type": WITHHELD, "sender": sender}
    return {user_id: {device_id: message}}


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [each for each in lines if each.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
