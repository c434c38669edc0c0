"""Readers of a mailbox other than sync: how they read, in real requests."""

from __future__ import annotations

from typing import Any, Dict, List

import attrs

from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import PLAIN, WITHHELD, make_message
from tests.harness.clients.olm import OlmDevice
from tests.harness.databases.mailbox import mailbox, mailbox_of
from tests.harness.homeservers.bridge import ID, Bridge
from tests.harness.homeservers.stage import Two

DEVICE = "DEHYDRATED"

_SLIDING_SYNC = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
DEHYDRATED = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"
_METHOD_NOT_ALLOWED = 405

Messages = List[Dict[str, Any]]


@attrs.define
class SlidingSync:
    """A connection that asks for to-device messages alone (MSC4186, MSC3885)."""

    client: Client
    limit: int = 100
    _pos: str | None = attrs.field(default=None, init=False)
    _since: str | None = attrs.field(default=None, init=False)

    async def take(self) -> Messages:
        """Acknowledge what was taken last, and take what there is."""
        answer = await self._ask()
        self._pos = answer["pos"]
        self._since = answer["extensions"]["to_device"]["next_batch"]
        return self._events(answer)

    async def look(self) -> Messages:
        """Ask, and forget the answer, as if it were lost on its way."""
        return self._events(await self._ask())

    def begin_again(self) -> None:
        """Begin a new connection, from what was acknowledged."""
        self._pos = None

    async def _ask(self) -> Any:
        to_device: dict[str, Any] = {"enabled": True, "limit": self.limit}
        if self._since is not None:
            to_device["since"] = self._since
        position = {} if self._pos is None else {"pos": self._pos}
        status, body = await self.client.request(
            "POST",
            _SLIDING_SYNC,
            {"conn_id": "test", "extensions": {"to_device": to_device}},
            position,
        )
        assert status == 200, body
        return body

    @staticmethod
    def _events(answer: Any) -> Messages:
        events: Messages = answer["extensions"]["to_device"]["events"]
        return events


def dehydrated(olm: OlmDevice, device_id: str) -> dict[str, Any]:
    """Return what a client uploads to leave a dehydrated device."""
    account = {"algorithm": "org.matrix.msc3814.v1.olm", "account": "frozen"}
    return {
        "device_id": device_id,
        "device_data": account,
        "initial_device_display_name": "dehydrated",
        **olm.keys(),
    }


@attrs.frozen
class Dehydrated:
    """The dehydrated device of a recipient."""

    two: Two

    @classmethod
    async def make(cls, two: Two) -> Dehydrated:
        """Upload the device, as a client does before it goes away."""
        submission = dehydrated(OlmDevice(two.recipient.user_id, DEVICE), DEVICE)
        answer = await two.recipient.request("PUT", DEHYDRATED, submission)
        assert answer == (200, {"device_id": DEVICE})
        return cls(two)

    async def send(self, content: dict[str, Any], kind: str = WITHHELD) -> Any:
        """Send it a message; return the message as stock Synapse queues it."""
        contents = {self.two.recipient.user_id: {DEVICE: content}}
        assert await self.two.sender.send_to_device(kind, contents) == 200
        return make_message(self.two.sender.user_id, content, kind)

    def mailbox(self) -> Messages:
        """Return what is queued for it."""
        return mailbox_of(self.two.homeserver, self.two.recipient.user_id, DEVICE)

    async def page(self, since: str | None = None) -> tuple[Messages, str | None]:
        """Read two messages from a position; return them and the next position."""
        params = {"limit": "2"} if since is None else {"limit": "2", "from": since}
        path = f"{DEHYDRATED}/{DEVICE}/events"
        status, body = await self.two.recipient.request("GET", path, params=params)
        if status == _METHOD_NOT_ALLOWED:  # as older Synapses had it
            return await self.older_page(since)
        assert status == 200, body
        return body["events"], body.get("next_batch")

    async def older_page(self, since: str | None) -> tuple[Messages, str | None]:
        """Read by the request that the draft had before, which never ends itself."""
        path = f"{DEHYDRATED}/{DEVICE}/events"
        status, body = await self.two.recipient.request(
            "POST", path, {"next_batch": since} if since else {}, {"limit": "2"}
        )
        assert status == 200, body
        return body["events"], body["next_batch"] if body["events"] else None

    async def read(self, older: bool = False, since: str | None = None) -> Messages:
        """Read page by page until nothing is left."""
        messages: Messages = []
        while True:
            read = self.older_page if older else self.page
            page, since = await read(since)
            messages += page
            if since is None:
                return messages


@attrs.frozen
class Bridged:
    """A sender, and a recipient for whom an application service reads."""

    bridge: Bridge
    two: Two

    async def send(self, content: dict[str, Any], kind: str = WITHHELD) -> Any:
        """Send a message; return it as the application service gets it."""
        await self.two.send(content, kind)
        return make_message(self.two.sender.user_id, content, kind)

    async def send_in_turn(self, stem: str) -> tuple[Messages, Messages]:
        """Send notices and others in turn; return the notices, and the others."""
        notices, others = [], []
        for number in range(4):
            notices.append(await self.send(self.two.notice(reason=f"{stem} {number}")))
            others.append(await self.send({stem: number}, PLAIN))
        return notices, others

    def received(self) -> Messages:
        """Return what the application service took."""
        return self.bridge.received(self.two.recipient)

    def mailbox(self) -> Messages:
        """Return what is queued, read or not."""
        return mailbox(self.two.homeserver, self.two.recipient)

    def position(self) -> int:
        """Return up to where Synapse has read for the application service."""
        ((position,),) = self.two.homeserver.query(
            "SELECT to_device_stream_id FROM application_services_state "
            "WHERE as_id = ?",
            (ID,),
        )
        return int(position)

    def set_position(self, position: int) -> None:
        """Let Synapse read from an earlier position, with the next message."""
        self.two.homeserver.query(
            "UPDATE application_services_state SET to_device_stream_id = ? "
            "WHERE as_id = ?",
            (position, ID),
        )
