"""How long the module's own code takes with ordinary messages, without Synapse."""

from __future__ import annotations

import time
from timeit import Timer
from typing import Any, Awaitable, Callable, Coroutine

import attrs
from twisted.internet.task import Clock

from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.delivery.runtime import Runtime, at_once
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.wiring import wire
from synapse_withheld.wrappers import to_local
from tests.bench.instruments.messages import DUMMY, SENDER_KEY, content
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.harness.clients.messages import ENCRYPTED, WITHHELD, make_notice
from tests.harness.rules import EVERY_RULE

LARGE = 1_000
SENDER = "@sender0:withheld.test"

# In microseconds per message.
MOST_DUMMY_US = 2.0
MOST_OLM_US = 3.0

# How long one repeat takes, in seconds: long enough for the clock, short enough
# that some repeats are not interrupted by anything else on the machine.
REPEAT_S = 0.005


_HOW = (
    "In-process, without Synapse, every rule on, less the time of the call that "
    "stores nothing."
)
_WHERE = (
    "'decision' begins at `Traffic.store`, 'with wrapper' at the wrapped method of "
    "Synapse's store. 'of these': every message re-arms a pair."
)


class NoHomeserver:
    """A homeserver that is never asked, since no message here is a notice."""

    sees_reads = False
    database_driver = "psycopg2"

    def connection_of(self, _: Any) -> None:
        """Return nothing: no statement is cancelled here."""

    def runtime(self) -> Runtime:
        """Return how things would run."""
        return attrs.evolve(at_once(Clock(), self._sleep), seconds=time.monotonic)

    def stream_token(self) -> int:
        """Return a position."""
        return 0

    def device_list_id(self) -> int:
        """Return a position."""
        return 0

    def reader_never_acknowledges(self, user_id: str) -> bool:
        """Say that users are users."""
        return not user_id

    async def run_statement(self, *_: Any) -> Any:
        """Fail: nothing here may need the database."""
        raise AssertionError("an ordinary message caused a statement")

    async def _sleep(self, _: float) -> None:
        raise AssertionError("an ordinary message had to wait")


@attrs.frozen
class Timing:
    """Microseconds per message of our own code.

    Attributes:
        traffic_us: From `Traffic` on.
        whole_us: From the wrapped method of the store on, as Synapse calls it.
    """

    message_type: str
    remembered: str
    batch: int
    traffic_us: float
    whole_us: float


async def write(local: LocalMessages, edus: Edus | None = None) -> int:  # noqa: ARG001
    """Stand for Synapse's method, which here writes nothing."""
    return 1


def measure(sizes: Sizes) -> Findings:
    """Time all kinds of ordinary messages, with an empty and with a full index."""
    timings = []
    states = (
        ("0", make_traffic(0), "@stranger:withheld.test"),
        (f"{sizes.pairs:,}, of others", make_traffic(sizes.pairs), SENDER + "x"),
        (f"{sizes.pairs:,}, of these", make_traffic(sizes.pairs), SENDER),
    )
    for message_type in (DUMMY, ENCRYPTED):
        for remembered, traffic, sender in states:
            for size in (LARGE, 1):
                batch = make_batch(message_type, sender, size)
                us = time_batch(traffic, batch, sizes.repeats)
                per_message = (each / size for each in us)
                timings.append(Timing(message_type, remembered, size, *per_message))
    return Findings([_table(timings, sizes)], _targets(timings))


def make_traffic(pairs: int) -> Traffic:
    """Wire the module; remember pairs of many senders in `LARGE` mailboxes."""
    traffic = wire(
        Config(rules=EVERY_RULE),
        NoHomeserver(),
        Metrics("bench"),
        Tally(time.monotonic),
    )
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
    """Return one of the mailboxes that may be remembered."""
    return (f"@recipient{number}:withheld.test", "AWAY")


def make_batch(message_type: str, sender: str, size: int) -> LocalMessages:
    """Return messages of one sender to as many mailboxes."""
    batch: LocalMessages = {}
    for number in range(size):
        user_id, device_id = mailbox(number)
        message = {"content": content(message_type), "type": message_type}
        batch[user_id] = {device_id: {**message, "sender": sender}}
    return batch


def time_batch(
    traffic: Traffic, batch: LocalMessages, repeats: int
) -> tuple[float, float]:
    """Return the microseconds that our code adds to storing a batch.

    Returns:
        Without and with the wrapper around the store's method.
    """
    wrapped: Callable[[LocalMessages], Awaitable[Any]]
    wrapped = to_local(traffic, NoHomeserver().stream_token, write)
    steps = (
        lambda: drive(write(batch)),
        lambda: drive(traffic.store(batch, {}, write)),
        lambda: drive(wrapped(batch)),  # type: ignore[arg-type]
    )
    # Of this thread alone: others run on this machine too.
    timers = [Timer(step, timer=time.thread_time) for step in steps]
    loops = [max(1, int(REPEAT_S / (timer.timeit(20) / 20))) for timer in timers]
    best = [float("inf")] * len(timers)
    # In turns, so that a change of the clock's rate meets all of them.
    for _ in range(repeats):
        for which, timer in enumerate(timers):
            seconds = timer.timeit(loops[which]) / loops[which]
            best[which] = min(best[which], seconds * 1e6)
    alone, through_traffic, whole = best
    return through_traffic - alone, whole - alone


def drive(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


def _table(timings: list[Timing], sizes: Sizes) -> Table:
    return Table(
        "The module's own code, microseconds per ordinary message",
        ("type", "pairs remembered", "messages in batch", "decision", "with wrapper"),
        [
            (
                each.message_type,
                each.remembered,
                f"{each.batch:,}",
                f"{each.traffic_us:.3f}",
                f"{each.whole_us:.3f}",
            )
            for each in timings
        ],
        [f"Best of {sizes.repeats} repeats.", _HOW, _WHERE],
    )


def _targets(timings: list[Timing]) -> list[Target]:
    return [
        _target(timings, message_type, size, most)
        for message_type, most in ((DUMMY, MOST_DUMMY_US), (ENCRYPTED, MOST_OLM_US))
        for size in (LARGE, 1)
    ]


def _target(timings: list[Timing], message_type: str, size: int, most: float) -> Target:
    alike = [
        each
        for each in timings
        if each.message_type == message_type and each.batch == size
    ]
    decision = max(each.traffic_us for each in alike)
    whole = max(each.whole_us for each in alike)
    return Target(
        f"own code per {message_type} message, batch of {size:,}, slowest state",
        f"< {most:.0f} µs",
        f"{max(decision, 0):.2f} µs; {max(whole, 0):.2f} µs with wrapper",
        max(decision, whole) < most,
        binding=False,
    )
