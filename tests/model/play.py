"""Requests to the model homeserver, one step at a time or all of them at once."""

from __future__ import annotations

from typing import Any, ClassVar

from synapse_withheld.config import Config
from synapse_withheld.memory.memory import Memory
from synapse_withheld.operators.tally import Tally
from tests.model.door import Batch, Door, Inbound, local_batch, remote_batch
from tests.model.faults import loaded, was_asked_for
from tests.model.homeserver import MOST_STATEMENTS, ModelHomeserver, Step
from tests.model.sweeping import swept_away
from tests.model.tables import Place

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
SCOPED = {**NOTICE, "room_id": "!room", "session_id": "session"}
OLM = {"algorithm": "m.olm.v1", "sender_key": "key", "ciphertext": {}}
SESSION = {**SCOPED, "code": "m.unverified"}

# What the module asks to confirm that a row is queued.
CONFIRM = "withheld_read_queued"
CONFIRM_ABROAD = "withheld_read_queued_edus"


class Play:
    """A homeserver with the module, and requests to it.

    Attributes:
        is_tidy: Whether a sweep may find nothing when the play is over.
        failures: What failed in the module since it was loaded.
    """

    made: ClassVar[list[Play]] = []

    def __init__(self, *, sees_reads: bool = False, **config: Any) -> None:
        self.hs = ModelHomeserver(sees_reads=sees_reads)
        self.hs.add_device(RECIPIENT, "R")
        self.door = Door(self.hs)
        self.config = Config(**config)
        self.is_tidy = self.config.enforces
        self.load()
        self.made.append(self)

    def load(self) -> None:
        """Load the module, as at a start."""
        self.tally = Tally(self.hs.runtime().seconds)
        self.traffic, self.failures = loaded(self.config, self.hs, self.tally)

    def end(self) -> None:
        """Let everything come to rest: nothing was turned round, nothing is left."""
        for step in self.hs.steps:
            step.hangs = False
        self.hs.come_to_rest()
        self.door.check()
        assert self.hs.most_of_ours <= MOST_STATEMENTS
        assert [] == [each for each in self.failures if not was_asked_for(each)]
        if self.is_tidy:
            merge_scopes, rules = self.config.merge_scopes, self.config.rules
            assert [] == swept_away(self.hs, merge_scopes=merge_scopes, rules=rules)

    # Requests.

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

    def begin_all(
        self,
        contents: dict[Place, Any],
        message_type: Any = WITHHELD,
        *,
        sender: str = SENDER,
        edu: Inbound | None = None,
    ) -> Batch:
        """Begin a request that says something else to each device."""
        batch = local_batch(sender, message_type, contents, edu)
        return self.door.begin(self.traffic, batch)

    def begin_abroad(
        self,
        content: Any,
        to: str | list[str] = "A",
        *,
        message_type: Any = WITHHELD,
        sender: str = SENDER,
        to_user: str = ABROAD,
    ) -> Batch:
        """Begin a request for devices on another server."""
        devices = [to] if isinstance(to, str) else to
        contents = {(to_user, device): content for device in devices}
        batch = remote_batch(sender, message_type, contents)
        return self.door.begin(self.traffic, batch)

    def send(self, *args: Any, **kwargs: Any) -> Batch:
        """Make a request and let everything come to rest."""
        return self._ended(self.begin(*args, **kwargs))

    def send_abroad(self, *args: Any, **kwargs: Any) -> Batch:
        """Make a request for devices on another server, and let all come to rest."""
        return self._ended(self.begin_abroad(*args, **kwargs))

    def _ended(self, batch: Batch) -> Batch:
        self.hs.come_to_rest()
        assert batch.ended is not None
        return batch

    # Readers.

    def read(self, device: str = "R") -> int:
        """Let a device begin a sync; return up to where it is answered."""
        token = self.hs.stream_token()
        self.traffic.note_read(RECIPIENT, device, token)
        return token

    def sync(self, device: str = "R") -> None:
        """Let a device read and acknowledge all that waits for it."""
        self.hs.acknowledge(RECIPIENT, device, self.read(device))

    # What is there.

    def queued(self, device: str = "R", user_id: str = RECIPIENT) -> list[int]:
        """Return the stream IDs of a mailbox."""
        return [stream_id for stream_id, _ in self.hs.mailbox(user_id, device)]

    def contents(self, device: str = "R") -> list[Any]:
        """Return the contents that wait for a device."""
        return [each["content"] for _, each in self.hs.mailbox(RECIPIENT, device)]

    def outbox(self) -> list[int]:
        """Return the stream IDs of the other server's outbox."""
        return [stream_id for stream_id, _ in self.hs.outbox("there")]

    def fill(self, device: str, contents: list[Any], **message: Any) -> None:
        """Put rows into a mailbox that no module saw arrive."""
        for content in contents:
            row = {"content": content, "type": WITHHELD, "sender": SENDER, **message}
            self.hs.put((RECIPIENT, device), row)

    def steps(self) -> list[str]:
        """Return the names of the steps that wait."""
        return [step.name for step in self.hs.steps]

    def step(self, name: str) -> Step:
        """Return the one step of a name that waits."""
        (step,) = [step for step in self.hs.steps if step.name == name]
        return step

    def until(self, name: str) -> Step:
        """Take steps, or wait for some, until one of a name waits; return that."""
        while name not in self.steps():
            if self.hs.steps:
                self.hs.take_step()
            else:
                self.hs.pass_time(0.01)
        return self.step(name)

    @property
    def memory(self) -> Memory:
        """Return what the module remembers of the inbox."""
        memory: Memory = self.traffic.inbox.memory
        return memory

    def knows(self, device: str = "R") -> bool:
        """Say whether the module remembers a mailbox and has learned it."""
        mailbox = self.memory.get((RECIPIENT, device))
        return mailbox is not None and mailbox.learned
