"""The module at work, between requests that come and a homeserver that stores them."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Iterable
from unittest.mock import Mock

from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.database.cancelling import CancelledStatementError
from synapse_withheld.database.database import Database
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import STAGES
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Options, Sweep
from synapse_withheld.wiring import wire
from tests.model.batch import Batch, Inbound, Said
from tests.model.homeserver import LostError, ModelHomeserver, Step

RECIPIENT = "@r:here"
ABROAD = "@a:there"
SENDER = "@s:here"
WITHHELD = "m.room_key.withheld"
ENCRYPTED = "m.room.encrypted"
NOTICE = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "code": "m.no_olm",
    "sender_key": "key",
    "from_device": "S1",
}
NEW_KEY = {**NOTICE, "sender_key": "new"}
OLM = {"algorithm": "m.olm.v1", "sender_key": "key", "ciphertext": {}}
SESSION = {**NOTICE, "code": "m.unverified", "room_id": "!room", "session_id": "s"}

# What the module asks to confirm that a row is queued.
CONFIRM = "withheld_read_queued"

# Failures that tests ask for.
ASKED_FOR = (LostError, CancelledStatementError, ZeroDivisionError)

# The longest that a batch may wait, in seconds; timers may be a little late.
LONGEST_WAIT_S = 1.0 + 1e-6


class Play:
    """A homeserver with the module, and requests to it, one step at a time.

    It holds I2 of `docs/design.md`: what is no notice passes as it is, a batch is
    written once, nothing waits for long, and nothing of a sender overtakes what waits.

    Attributes:
        made: All of them.
        batches: What came, in order, and `handed_on`, what was handed on.
        loaded: When the module was loaded.
    """

    made: ClassVar[list[Play]] = []

    def __init__(
        self, *, devices: Iterable[str] = "R", sees_reads: bool = False, **config: Any
    ) -> None:
        self.hs = ModelHomeserver(sees_reads=sees_reads)
        self.config = Config(**config)
        self.batches: list[Batch] = []
        self.handed_on: list[Batch] = []
        self._wrong: list[str] = []
        self._time = 0
        self.load()
        for device in devices:
            self.hs.add_device(RECIPIENT, device)
        self.made.append(self)

    def load(self) -> None:
        """Load the module, as at a start."""
        self.tally = Tally(self.hs.runtime().seconds)
        self.traffic = wire(self.config, self.hs, Metrics("model"), self.tally)
        self.loaded = self.tick()
        noted = Mock(wraps=self.traffic.failures.note)
        self.traffic.failures.note = noted  # type: ignore[method-assign]

    @property
    def failures(self) -> list[BaseException]:
        note: Any = self.traffic.failures.note
        noted = [call.args for call in note.call_args_list]
        assert {stage for stage, _ in noted} <= {*STAGES}
        return [error for _, error in noted]

    def tick(self) -> int:
        self._time += 1
        return self._time

    @property
    def waiting(self) -> list[Batch]:
        return [batch for batch in self.batches if batch.handed is None]

    def check(self) -> None:
        """I2; and I4: no failure of our own, nor more than two statements at once."""
        assert [] == self._wrong
        latest_s = self.hs.clock.seconds() - LONGEST_WAIT_S
        assert [] == [batch for batch in self.waiting if batch.came_s < latest_s]
        for error in self.failures:
            assert isinstance(error.__cause__ or error, ASKED_FOR), error

    def end(self) -> None:
        """Let everything come to rest: nothing was turned round, nothing is left."""
        for step in self.hs.steps:
            step.hangs = False
        self.hs.come_to_rest()
        self.check()
        assert not (self.config.enforces and self.sweep())

    def sweep(self, now_ts: int = 0) -> set[tuple[str, str, int]]:
        """Let the real sweep go over the mailboxes; return which rows went."""

        async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
            return function(self.hs.database.cursor(), *arguments)

        sql = "SELECT user_id, device_id, stream_id FROM device_inbox"
        before: set[Any] = {*self.hs.rows(sql)}
        database = Database(run, "sqlite3", stream_token=self.hs.stream_token)
        sweep = Sweep(database, Options(rules=Ruleset.of(self.config), now_ts=now_ts))
        while not sweep.progress.done:
            driven(sweep.step())
        return before - {*self.hs.rows(sql)}

    # Requests.

    def begin_all(
        self,
        contents: Said,
        message_type: Any = WITHHELD,
        *,
        sender: str = SENDER,
        edu: Inbound | None = None,
    ) -> Batch:
        """Begin a request that says something else to each device."""
        # From another server it comes in an EDU.
        if edu is None and server_of(sender) != "here":
            edu = (server_of(sender), f"new {len(self.batches)}")
        came = (self.loaded, self.tick(), self.hs.clock.seconds())
        batch = Batch(sender, message_type, contents, edu, *came)
        self.batches.append(batch)
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
        wrong = "written twice" if batch.handed else batch.hand_on(local, edus)
        batch.handed, batch.handed_s = self.tick(), self.hs.clock.seconds()
        self.handed_on.append(batch)
        users = {user_id for user_id, _ in batch.said.keys() - batch.left_out}
        for each in self.waiting if not batch.is_spoofed else ():
            is_earlier = each.came < batch.came and each.sender == batch.sender
            if is_earlier and each.users & users:
                wrong = f"overtakes {each}"
        if wrong:
            self._wrong.append(f"{wrong}: {batch}")

    def begin(
        self,
        content: Any,
        to: str | list[str] = "R",
        *,
        message_type: Any = WITHHELD,
        sender: str = SENDER,
        edu: Inbound | None = None,
        to_user: str = RECIPIENT,
    ) -> Batch:
        """Begin a request; the test takes its steps."""
        devices = [to] if isinstance(to, str) else to
        contents = {(to_user, device): content for device in devices}
        return self.begin_all(contents, message_type, sender=sender, edu=edu)

    def send(self, *args: Any, **kwargs: Any) -> Batch:
        """Make a request and let everything come to rest."""
        batch = self.begin(*args, **kwargs)
        self.hs.come_to_rest()
        assert batch.ended is not None
        return batch

    # Readers, and what is there.

    def read(self, device: str = "R") -> int:
        """Let a device begin a sync; return up to where it is answered."""
        token = self.hs.stream_token()
        self.traffic.note_read(RECIPIENT, device, token)
        return token

    def sync(self, device: str = "R") -> None:
        """Let a device read and acknowledge all that waits for it."""
        self.hs.acknowledge(RECIPIENT, device, self.read(device))

    def queued(self, device: str = "R", user_id: str = RECIPIENT) -> list[int]:
        return [*self.hs.mailbox(user_id, device)]

    def fill(self, device: str, contents: list[Any], **message: Any) -> None:
        """Put rows into a mailbox that no module saw arrive."""
        for content in contents:
            row = {"content": content, "type": WITHHELD, "sender": SENDER, **message}
            self.hs.put((RECIPIENT, device), row)

    def steps(self) -> list[str]:
        return [step.name for step in self.hs.steps]

    def step(self, name: str) -> Step:
        """Return the one step of a name that waits."""
        (step,) = [step for step in self.hs.steps if step.name == name]
        return step

    def until(self, name: str) -> Step:
        """Go on until a step of a name waits; return that step."""
        while name not in self.steps():
            assert self.hs.steps or self.hs.clock.getDelayedCalls(), name
            self.hs.go_on()
        return self.step(name)

    @property
    def memory(self) -> Memory:
        memory: Memory = self.traffic.inbox.memory
        return memory

    def knows(self, device: str = "R") -> bool:
        mailbox = self.memory.get((RECIPIENT, device))
        return mailbox is not None and mailbox.learned
