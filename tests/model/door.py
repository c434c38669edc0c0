"""Where Synapse hands batches over: what came in, and what went on to be stored.

It holds I2 of `docs/design.md`: what is no notice passes as it is, a batch is written
once, nothing waits for long, and nothing of a sender overtakes what waits.
"""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.database.database import Database
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Options, Sweep
from synapse_withheld.wiring import wire
from tests.model.batch import Batch, Inbound, Said
from tests.model.faults import was_asked_for
from tests.model.homeserver import ModelHomeserver

# One thread of the database confirms, one keeps house.
MOST_STATEMENTS = 2

# The longest that a batch may wait, in seconds; timers may be a little late.
LONGEST_WAIT_S = 1.0 + 1e-6


class Door:
    """The module at work, between what comes and a homeserver that stores it.

    Attributes:
        batches: All that came, in order, and `handed_on`, all that was handed on.
        wrong: What must not happen and did.
        loaded: When the module was loaded, as the number of an event.
        failures: What failed in the module since then.
    """

    def __init__(self, hs: ModelHomeserver, config: Config) -> None:
        self.hs = hs
        self.config = config
        self.batches: list[Batch] = []
        self.handed_on: list[Batch] = []
        self.wrong: list[str] = []
        self._waiting: list[Batch] = []
        self._time = 0
        self.load()

    def load(self) -> None:
        """Load the module, as at a start."""
        self.tally = Tally(self.hs.runtime().seconds)
        self.traffic = wire(self.config, self.hs, Metrics("model"), self.tally)
        self.failures: list[BaseException] = []
        self.loaded = self.tick()
        note = self.traffic.failures.note

        def note_and_keep(stage: str, error: BaseException) -> None:
            self.failures.append(error)
            note(stage, error)

        self.traffic.failures.note = note_and_keep  # type: ignore[method-assign]

    def tick(self) -> int:
        self._time += 1
        return self._time

    def check(self) -> None:
        """I2; and I4: at most two statements at once, and no failure of our own."""
        assert [] == self.wrong
        now_s = self.hs.clock.seconds()
        assert [] == [b for b in self._waiting if now_s > b.came_s + LONGEST_WAIT_S]
        assert self.hs.most_of_ours <= MOST_STATEMENTS
        assert [] == [each for each in self.failures if not was_asked_for(each)]

    def begin_all(
        self,
        contents: Said,
        message_type: Any = "m.room_key.withheld",
        *,
        sender: str = "@s:here",
        edu: Inbound | None = None,
    ) -> Batch:
        """Begin a request that says something else to each device.

        From another server it comes in an EDU, in a new one if none is named.
        """
        if edu is None and server_of(sender) != "here":
            edu = (server_of(sender), f"new {len(self.batches)}")
        batch = Batch(sender, message_type, contents, edu, loaded=self.loaded)
        batch.came, batch.came_s = self.tick(), self.hs.clock.seconds()
        self.batches.append(batch)
        self._waiting.append(batch)
        batch.answer = ensureDeferred(self._store(batch))
        batch.waited = batch.handed is None
        return batch

    async def _store(self, batch: Batch) -> Any:
        async def write(local: Any, edus: Any) -> Any:
            self._hand_on(batch, local, edus)
            if not local and not edus and batch.inbound is None:
                return self.hs.stream_token()
            batch.stream_id = self.hs.next_stream_id
            return await self.hs.store(local, edus, batch.inbound)

        origin = batch.inbound[0] if batch.inbound else None
        result = await self.traffic.store(batch.local, batch.edus, write, origin)
        batch.ended = self.tick()
        return result

    def _hand_on(self, batch: Batch, local: Any, edus: Any) -> None:
        if batch.handed is not None:
            self.wrong.append(f"written twice: {batch}")
            return
        self._waiting.remove(batch)
        batch.handed, batch.handed_s = self.tick(), self.hs.clock.seconds()
        self.handed_on.append(batch)
        users = batch.hand_on(local, edus, self.wrong)
        for earlier in self._waiting:
            if (
                earlier.came < batch.came
                and earlier.sender == batch.sender
                and earlier.users & users
                and not batch.is_spoofed
            ):
                self.wrong.append(f"{batch} overtakes {earlier}")

    def sweep(self, now_ts: int = 0) -> set[tuple[str, str, int]]:
        """Let the real sweep go over the mailboxes; return which rows went."""

        async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
            return function(self.hs.database.cursor(), *arguments)

        def places() -> set[Any]:
            sql = "SELECT user_id, device_id, stream_id FROM device_inbox"
            return {*self.hs.rows(sql)}

        before = places()
        database = Database(run, "sqlite3", stream_token=self.hs.stream_token)
        options = Options(rules=Ruleset.of(self.config), now_ts=now_ts)
        sweep = Sweep(database, options)
        while not sweep.progress.done:
            driven(sweep.step())
        return before - places()
