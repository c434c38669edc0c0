"""Very many senders to one device, again and again, on mailboxes in memory.

A Synapse would take hours for as many; here the module's own code decides, and its
statements are those that a Synapse would run.
"""

from __future__ import annotations

import time

import attrs

from synapse_withheld.config import Config
from tests.bench.alone.inbox import Inbox, module_before, notice_for
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes

RECIPIENT = ("@recipient:withheld.test", "AWAY")
# At most so much more in the last round than in the second.
FLAT = 1.2

_HEADER = ("", "notices", "rows left", "second round, µs", "last round, µs")
_HOW = (
    "{:,} senders to one device, {} rounds, in one process with SQLite in memory. "
    "Microseconds are per notice."
)


@attrs.frozen
class Rounds:
    """What the rounds took, in each of which every sender sends one notice.

    Attributes:
        us: Microseconds per notice, by round.
        left: How many rows are queued in the end.
    """

    us: list[float]
    left: int


def measure(sizes: Sizes) -> Findings:
    """Let many senders send often, to stock mailboxes and through the module."""
    lanes = {name: _rounds(name == "module", sizes) for name in ("stock", "module")}
    sent = sizes.senders * sizes.often
    rows = [
        (
            *(name, f"{sent:,}", f"{each.left:,}"),
            *(f"{each.us[1]:.0f}", f"{each.us[-1]:.0f}"),
        )
        for name, each in lanes.items()
    ]
    notes = [_HOW.format(sizes.senders, sizes.often)]
    module = lanes["module"]
    growth = module.us[-1] / module.us[1]
    left = module.left / sizes.senders
    return Findings(
        [Table("One device, very many senders", _HEADER, rows, notes)],
        [
            Target.most("many senders: rows left, of each", left, 1, binding=True),
            Target.most("many senders: last round, to the second", growth, FLAT),
        ],
    )


def _rounds(with_module: bool, sizes: Sizes) -> Rounds:
    inbox = Inbox()
    inbox.add_device(RECIPIENT)
    through = module_before(inbox, Config(), "crowd") if with_module else None
    batches = [
        notice_for(RECIPIENT, f"@sender{number}:withheld.test")
        for number in range(sizes.senders)
    ]
    us = []
    for _ in range(sizes.often):
        began = time.thread_time()
        for batch in batches:
            inbox.send(batch, through)
        us.append(1e6 * (time.thread_time() - began) / sizes.senders)
    return Rounds(us, inbox.count())
