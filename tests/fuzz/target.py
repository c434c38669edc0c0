"""Put requests through the module, and hold what is stored against what was sent."""

from __future__ import annotations

import copy
from typing import Any

from twisted.internet.task import Clock

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.database.sql import Page
from synapse_withheld.delivery.batch import ObservedBatch
from synapse_withheld.delivery.runtime import Runtime, at_once
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import MailboxKey, RowState
from synapse_withheld.wiring import wire
from tests.fuzz.expected import may_be_left_out
from tests.fuzz.inputs import Request, requests
from tests.harness.rules import EVERY_RULE


class Surroundings:
    """A homeserver whose database answers at once, and has everything queued."""

    sees_reads = False
    database_driver = "sqlite3"

    def __init__(self) -> None:
        self.clock = Clock()
        self.stream_id = 0
        self.rows: dict[MailboxKey, list[tuple[int, Any]]] = {}

    def connection_of(self, _: Any) -> None:
        return None

    def runtime(self) -> Runtime:
        return at_once(self.clock, self._sleep)

    def stream_token(self) -> int:
        return self.stream_id

    def device_list_id(self) -> int:
        return 0

    def reader_never_acknowledges(self, user_id: str) -> bool:
        return user_id == "@b:here"

    async def run_statement(self, name: str, _: Any, about: Any, *more: Any) -> Any:
        """Answer as the database would, by the name of the statement."""
        if "devices" in name:
            return [(user_id, device) for user_id in about for device in "AB"]
        if "gone" in name:
            return {each for each in about if each[1] != "A"}
        if "delete" in name:
            # It is about the driver, and then the rows.
            return len(more[0])
        if "queued" in name:
            return {row: RowState(queued=True) for row in about}
        return {key: self._page(key) for key in about if key[1] != "B"}

    def _page(self, key: MailboxKey) -> Page:
        rows = self.rows.get(key, [])
        return Page(rows[::-1], rows[-1][0] if rows else 0, None)

    def store(self, local: Any, edus: Any) -> None:
        self.stream_id += 1
        for kept in (local, edus):
            if isinstance(kept, ObservedBatch) and kept:
                kept.stream_id = self.stream_id
        for user_id, by_device in local.items():
            for device_id, message in by_device.items():
                key = (user_id, "A" if device_id == "*" else device_id)
                self.rows.setdefault(key, []).append((self.stream_id, message))

    async def _sleep(self, _: float) -> None:
        return None


class Target:
    """The module, between a fuzzer and a store."""

    def __init__(self) -> None:
        """Wire it; whatever it would catch and count goes on to the fuzzer."""
        self._synapse = Surroundings()
        tally = Tally(self._synapse.clock.seconds)
        self._traffic = wire(
            Config(rules=EVERY_RULE), self._synapse, Metrics("fuzz"), tally
        )
        self._failures: list[BaseException] = []
        failures: Any = self._traffic.failures
        failures.note = lambda _, error: self._failures.append(error)

    def run(self, data: bytes) -> None:
        """Put an input through.

        Raises:
            AssertionError: Something is lost that is no notice.
            Exception: What the module would have caught and counted.
        """
        self._traffic.inbox.memory.clear()
        self._traffic.outbox.memory.clear()
        self._synapse.rows.clear()
        self._failures.clear()
        made = requests(data)
        for number, request in enumerate(made):
            self._put_through(request, made[:number])

    def _put_through(self, request: Request, earlier: list[Request]) -> None:
        sent = copy.deepcopy(request.messages)
        local, edus = _handed_over(request)
        stored: list[Any] = []

        async def write(local: Any, edus: Any) -> None:
            stored.append(_contents(local, edus))
            self._synapse.store(local, edus)

        driven(self._traffic.store(local, edus, write, request.origin))
        if self._failures:
            raise self._failures.pop()
        (kept,) = stored
        assert repr(request.messages) == repr(sent), "it was changed"
        _check(request, kept, earlier)


def _check(request: Request, kept: dict[str, Any], earlier: list[Request]) -> None:
    """Check that all of it was stored, but for duplicates, and in its order."""
    assert kept.keys() <= request.messages.keys(), "there is more"
    for user_id, by_device in request.messages.items():
        left = kept.get(user_id, {})
        assert [*left] == [each for each in by_device if each in left]
        assert [*left] != ["*"] or len(by_device) == 1, "it is for all devices now"
        for device_id, content in by_device.items():
            if device_id in left:
                assert left[device_id] is content
            else:
                place = user_id, device_id
                assert may_be_left_out(request, *place, earlier), place


def _handed_over(request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a request as Synapse hands it on: for local devices, and as EDUs."""
    head = {"sender": request.sender, "type": request.message_type}
    if not request.outward:
        return {
            user_id: {each: {**head, "content": by_device[each]} for each in by_device}
            for user_id, by_device in request.messages.items()
        }, {}
    edus: dict[str, Any] = {}
    for user_id, by_device in request.messages.items():
        edu = {**head, "message_id": "1", "messages": {}}
        edus.setdefault(server_of(user_id), edu)["messages"][user_id] = by_device
    return {}, edus


def _contents(local: Any, edus: Any) -> dict[str, Any]:
    kept = {
        user_id: {each: by_device[each]["content"] for each in by_device}
        for user_id, by_device in local.items()
    }
    for edu in edus.values():
        kept.update(edu["messages"])
    return kept
