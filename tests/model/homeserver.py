"""A homeserver for the model tests: real SQL, and every step taken by the test.

It has Synapse's tables and stores messages as Synapse's store does, but nothing
runs by itself: each statement waits until the test takes the step. So any order
in which a threaded database could answer can be played.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, Callable, Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from synapse_withheld.database.cancelling import CancelledStatementError
from synapse_withheld.delivery.batch import ObservedBatch
from synapse_withheld.delivery.runtime import Runtime, at_once
from synapse_withheld.wrappers import observing
from tests.model.tables import Edus, Local, Place, Rows, Tables, compact

# How long everything may take to come to rest, in seconds.
LONGEST_S = 600.0


class LostError(Exception):
    """The connection was lost, as a test asked for."""


@attrs.define(eq=False)
class Step:
    """A statement or a transaction that waits to be run.

    Attributes:
        hangs: Whether it is never answered, unless the test says so.
    """

    name: str
    run: Callable[[], Any]
    hangs: bool = False
    done: Deferred[Any] = attrs.Factory(Deferred)

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("withheld_")

    def carry_out(self) -> None:
        """Run it now, and have it answered later."""
        with suppress(CancelledStatementError):
            result = self.run()
            self.run = lambda: result


class ModelHomeserver(Tables):
    """The database, the stream of to-device messages, and the steps to come.

    Attributes:
        on_step: Called with each step that begins to wait.
        deleting: Runs a deletion of redundant rows.
        stored: What was ever stored for each device: text by stream ID.
    """

    database_driver = "sqlite3"
    connection_of = staticmethod(lambda _: None)

    def __init__(self, *, sees_reads: bool = False) -> None:
        super().__init__()
        self.sees_reads = sees_reads
        self.clock = Clock()
        self.steps: list[Step] = []
        self.answered: list[Step] = []
        self.on_step: Callable[[Step], Any] = lambda _: None
        self.deleting: Callable[[Callable[[], Any]], Any] = lambda run: run()
        self.stored: dict[Place, dict[int, str]] = {}
        self.service_users: set[str] = set()
        self.next_stream_id = 1
        self._in_flight: set[int] = set()

    # What the module asks.

    def runtime(self) -> Runtime:
        return at_once(
            self.clock, lambda seconds: deferLater(self.clock, seconds, lambda: None)
        )

    def stream_token(self) -> int:
        """Return the position up to which nothing is in flight."""
        return min(self._in_flight, default=self.next_stream_id) - 1

    def device_list_id(self) -> int:
        return self.next_device_list_id - 1

    def reader_never_acknowledges(self, user_id: str) -> bool:
        return user_id in self.service_users

    async def run_statement(
        self, name: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        run = partial(function, self.database.cursor(), *arguments)
        if name.startswith("withheld_delete"):
            run = partial(self.deleting, run)
        return await self._step(name, run)

    # What Synapse does.

    async def store(
        self, local: Local, edus: Edus, inbound: tuple[str, str] | None = None
    ) -> int:
        """Store messages as Synapse's store does, all in one transaction.

        Args:
            local: Messages for devices of this server.
            edus: EDUs for other servers, by destination.
            inbound: Origin and message ID of an inbound EDU.
        """
        stream_id = self.next_stream_id
        self.next_stream_id += 1
        self._in_flight.add(stream_id)

        def insert() -> None:
            if inbound is None or self.receive(*inbound):
                observing(self._insert_local)(None, stream_id, local)
                self._insert_edus(stream_id, edus)

        try:
            await self._step("store", insert)
        finally:
            self._in_flight.discard(stream_id)
        # Readers see the rows before whoever stored them goes on.
        await self._step("stored", lambda: None)
        return stream_id

    def read(self, *rows: Any) -> Deferred[Rows]:
        return self._step("read", partial(self.mailbox, *rows))

    def put(self, place: Place, message: Mapping[str, Any]) -> int:
        """Store a message that no module sees, as before a start."""
        self.next_stream_id += 1
        self._insert_row(place, self.next_stream_id - 1, message)
        return self.next_stream_id - 1

    def _insert_local(self, _: None, stream_id: int, local: Local) -> None:
        for place, message in self.expand(local).items():
            self._insert_row(place, stream_id, message)

    def _insert_row(
        self, place: Place, stream_id: int, message: Mapping[str, Any]
    ) -> None:
        text = compact(message)
        sql = "INSERT INTO device_inbox VALUES (?, ?, ?, ?)"
        self.rows(sql, *place, stream_id, text)
        self.stored.setdefault(place, {})[stream_id] = text

    def _insert_edus(self, stream_id: int, edus: Edus) -> None:
        for destination, edu in edus.items():
            if isinstance(edus, ObservedBatch):
                edus.stream_id = stream_id
            sql = "INSERT INTO device_federation_outbox VALUES (?, ?, 0, ?, NULL)"
            self.rows(sql, destination, stream_id, compact(edu))
            for user_id, by_device in edu["messages"].items():
                for place in [(user_id, device_id) for device_id in by_device]:
                    text = compact(message_of(edu, place))
                    self.stored.setdefault(place, {})[stream_id] = text

    # What the test does.

    def take_step(self, which: int = 0) -> None:
        """Run one of the waiting steps that do not hang."""
        self.answer(self.answering[which % len(self.answering)])

    def answer(
        self, step: Step, error: Exception | None = None, *, carried_out: bool = False
    ) -> None:
        """Run a step, or let it fail, be it after it was carried out."""
        if step not in self.steps:
            return
        self.steps.remove(step)
        self.answered.append(step)
        result = None
        if error is None or carried_out:
            try:
                result = step.run()
            except AssertionError:
                # It is the test that fails.
                raise
            except Exception as failure:  # noqa: BLE001 as a database would
                error = failure
        if error is None:
            step.done.callback(result)
        else:
            step.done.errback(error)

    @property
    def answering(self) -> list[Step]:
        return [step for step in self.steps if not step.hangs]

    def ours(self) -> list[Step]:
        return [step for step in self.steps if step.is_ours]

    def take_all_steps(self) -> None:
        while self.answering:
            self.take_step()

    def go_on(self, which: int = 0) -> None:
        """Take a step, or let a little time pass where none waits."""
        if self.answering:
            self.take_step(which)
        else:
            self.pass_time(0.05)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and each call come when it is due; no step is taken."""
        end_s = self.clock.seconds() + seconds
        while (at_s := min(self._due_s(), default=inf)) <= end_s:
            self._go_to(at_s)
        self._go_to(end_s)

    def come_to_rest(self) -> None:
        """Take all steps, and let time pass until nothing waits for anything."""
        latest_s = self.clock.seconds() + LONGEST_S
        self.take_all_steps()
        while due_s := self._due_s():
            assert min(due_s) < latest_s, self.clock.getDelayedCalls()
            self._go_to(min(due_s))
            self.take_all_steps()

    def _due_s(self) -> list[float]:
        return [call.getTime() for call in self.clock.getDelayedCalls()]

    def _go_to(self, seconds: float) -> None:
        self.clock.advance(max(0.0, seconds - self.clock.seconds()))

    def _step(self, name: str, run: Callable[[], Any]) -> Deferred[Any]:
        step = Step(name, run)
        self.steps.append(step)
        # One thread of the database confirms, one keeps house.
        assert len(self.ours()) <= 2
        self.on_step(step)
        return step.done


def message_of(edu: Mapping[str, Any], place: Place) -> dict[str, Any]:
    user_id, device_id = place
    content = edu["messages"][user_id][device_id]
    return {"content": content, "type": edu["type"], "sender": edu["sender"]}
