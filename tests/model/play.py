"""Requests to the model homeserver, one step at a time or all of them at once."""

from __future__ import annotations

from typing import Any, ClassVar, Iterable

from synapse_withheld.config import Config
from synapse_withheld.memory.memory import Memory
from synapse_withheld.rules.identifiers import server_of
from tests.model.batch import Batch, Inbound
from tests.model.door import Door
from tests.model.homeserver import ModelHomeserver, Step, message_of
from tests.model.tables import Place, Rows

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


# After so many steps nothing else is to come.
MOST_STEPS = 1000


class Play(Door):
    """A homeserver with the module, and requests to it.

    Attributes:
        made: All of them.
        is_tidy: Whether a sweep may find nothing when the play is over.
    """

    made: ClassVar[list[Play]] = []

    def __init__(
        self,
        *,
        devices: Iterable[str] = ("R",),
        sees_reads: bool = False,
        **config: Any,
    ) -> None:
        super().__init__(ModelHomeserver(sees_reads=sees_reads), Config(**config))
        for device in devices:
            self.hs.add_device(RECIPIENT, device)
        self.is_tidy = self.config.enforces
        self.made.append(self)

    def end(self) -> None:
        """Let everything come to rest: nothing was turned round, nothing is left."""
        for step in self.hs.steps:
            step.hangs = False
        self.hs.come_to_rest()
        self.check()
        assert not self.is_tidy or not self.sweep()

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

    def begin_abroad(
        self, content: Any, to: Any = "A", to_user: str = ABROAD, **more: Any
    ) -> Batch:
        """Begin a request for devices on another server."""
        return self.begin(content, to, to_user=to_user, **more)

    def send(self, *args: Any, **kwargs: Any) -> Batch:
        """Make a request and let everything come to rest."""
        batch = self.begin(*args, **kwargs)
        self.hs.come_to_rest()
        assert batch.ended is not None
        return batch

    def begin_each(self, *messages: tuple[str, Any], **more: Any) -> None:
        """Begin requests of several types; the test takes their steps."""
        for message_type, content in messages:
            self.begin(content, message_type=message_type, **more)

    def send_each(self, *messages: tuple[str, Any], **more: Any) -> None:
        """Make requests of several types, one after the other."""
        for message_type, content in messages:
            self.send(content, message_type=message_type, **more)

    def send_abroad(
        self, content: Any, to: Any = "A", to_user: str = ABROAD, **more: Any
    ) -> Batch:
        return self.send(content, to, to_user=to_user, **more)

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
        return [*self.hs.mailbox(user_id, device)]

    def contents(self, device: str = "R") -> list[Any]:
        rows = self.hs.mailbox(RECIPIENT, device)
        return [message["content"] for message in rows.values()]

    def outbox(self) -> list[int]:
        return [*self.hs.outbox("there")]

    def rows(self, place: Place, *, alone: bool = False) -> Rows:
        """Return the messages for a device that wait here, wherever it is.

        Args:
            place: The device.
            alone: Whether to leave out what shares a row with others.
        """
        user_id, device_id = place
        if server_of(user_id) == "here":
            return self.hs.mailbox(*place)
        return {
            stream_id: message_of(edu, place)
            for stream_id, edu in self.hs.outbox(server_of(user_id)).items()
            if device_id in edu["messages"].get(user_id, ())
            and not (alone and len(edu["messages"][user_id]) > 1)
        }

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
        """Go on until a step of a name waits, or for long; return that step."""
        for _ in range(MOST_STEPS):
            if name in self.steps():
                break
            self.hs.go_on()
        return self.step(name)

    @property
    def memory(self) -> Memory:
        memory: Memory = self.traffic.inbox.memory
        return memory

    def knows(self, device: str = "R") -> bool:
        mailbox = self.memory.get((RECIPIENT, device))
        return mailbox is not None and mailbox.learned
