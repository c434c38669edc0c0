"""Requests to the model homeserver, one step at a time or all of them at once."""

from __future__ import annotations

from typing import Any, Coroutine

from twisted.internet.defer import Deferred, ensureDeferred

from synapse_withheld.config import Config
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.wiring import wire
from tests.model.homeserver import ModelHomeserver

RECIPIENT = "@r:here"
ABROAD = "@a:there"
WITHHELD = "m.room_key.withheld"
NOTICE = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "code": "m.no_olm",
    "sender_key": "key",
    "from_device": "S1",
}
OLM = {"algorithm": "m.olm.v1", "sender_key": "key", "ciphertext": {}}


class Play:
    """A homeserver with the module, and requests to it."""

    def __init__(self, *, spoofs_possible: bool = False, **config: Any) -> None:
        self.hs = ModelHomeserver()
        self.hs.add_device(RECIPIENT, "R")
        self.config = Config(**config)
        self.spoofs_possible = spoofs_possible
        self.load()

    def load(self) -> None:
        """Load the module, as at a start."""
        metrics = Metrics("findings")
        self.tally = Tally(self.hs.runtime().seconds)
        self.traffic = wire(
            self.config,
            self.hs,
            metrics,
            self.tally,
            spoofs_possible=self.spoofs_possible,
        )

    def begin(
        self,
        content: dict[str, Any],
        to: str | list[str] = "R",
        *,
        message_type: str = WITHHELD,
        sender: str = "@s:here",
        edu: tuple[str, str] | None = None,
        to_user: str = RECIPIENT,
    ) -> Deferred[Any]:
        """Begin a request; the test takes its steps."""
        message = {"content": content, "type": message_type, "sender": sender}
        batch = {to_user: dict.fromkeys([to] if isinstance(to, str) else to, message)}

        async def write(kept: Any) -> Any:
            return None if not kept and edu is None else await self.hs.store(kept, edu)

        origin = edu[0] if edu else None
        return ensureDeferred(self.traffic.to_local(batch, write, origin))

    def begin_abroad(
        self,
        content: dict[str, Any],
        to: str | list[str] = "A",
        *,
        message_type: str = WITHHELD,
        sender: str = "@s:here",
        to_user: str = ABROAD,
    ) -> Deferred[Any]:
        """Begin a request for devices on another server."""
        devices = [to] if isinstance(to, str) else to
        edu = {
            "messages": {to_user: dict.fromkeys(devices, content)},
            "sender": sender,
            "type": message_type,
            "message_id": str(self.hs.next_stream_id),
        }

        async def write(left: Any, batch: Any) -> Any:
            return await self.hs.store_edus(left, batch) if left else None

        return ensureDeferred(
            self.traffic.to_remote({to_user.partition(":")[2]: edu}, write)
        )

    def send_abroad(self, *args: Any, **kwargs: Any) -> None:
        """Make a request for devices on another server and take all its steps."""
        request = self.begin_abroad(*args, **kwargs)
        self.hs.come_to_rest()
        assert request.called

    def run(self, request: Coroutine[Any, Any, Any]) -> Deferred[Any]:
        """Begin a request and take all its steps."""
        deferred = ensureDeferred(request)
        self.hs.come_to_rest()
        return deferred

    def outbox(self) -> list[int]:
        """Return the stream IDs of the other server's outbox."""
        return [stream_id for stream_id, _ in self.hs.outbox("there")]

    def send(self, *args: Any, **kwargs: Any) -> None:
        """Make a request and take all its steps."""
        request = self.begin(*args, **kwargs)
        self.hs.come_to_rest()
        assert request.called

    def queued(self, device: str = "R") -> list[int]:
        """Return the stream IDs of a mailbox."""
        return [stream_id for stream_id, _ in self.hs.mailbox(RECIPIENT, device)]

    def steps(self) -> list[str]:
        """Return the names of the steps that wait."""
        return [step.name for step in self.hs.steps]

    @property
    def index(self) -> Any:
        """Return the module's index."""
        return self.traffic.inbox.index
