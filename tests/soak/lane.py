"""A homeserver that lives the life, and what its people were given."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any, Awaitable, Callable

import attrs
from twisted.internet.defer import DeferredLock

from tests.harness.client import (
    DEHYDRATED,
    Client,
    MatrixError,
    Messages,
    SlidingSync,
    dehydrated,
)
from tests.harness.servers.homeserver import Homeserver, mailbox_of
from tests.harness.servers.listening import Bridge
from tests.harness.servers.remote import RemoteServer
from tests.harness.waiting import become, together
from tests.soak.history import History
from tests.soak.patience import Patience
from tests.soak.people import OTHER_SERVER, Device, Reads, User
from tests.soak.reading import PAGE, FromStart, Reader, Sliding, Syncing
from tests.soak.talk import Said

STORED_WITHIN_S = 5.0


class Other(RemoteServer):
    """The other server; it knows when each EDU came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[float] = []

    def take(self, request: Any) -> Any:
        answer = super().take(request)
        self.came += [time.monotonic()] * (len(self.received) - len(self.came))
        return answer


@attrs.define(eq=False)
class Lane:
    """A homeserver, with the module or without, and all that is beside it.

    Attributes:
        histories: What each device was given.
        asked: When each request with messages was made, and when answered.
        deaths: When the homeserver went, and when it was back.
    """

    name: str
    homeserver: Homeserver
    other: Other
    bridge: Bridge
    histories: dict[tuple[str, str, int], History] = attrs.Factory(dict)
    patience: Patience = attrs.Factory(Patience)
    asked: dict[int, tuple[float, float]] = attrs.Factory(dict)
    deaths: list[tuple[float, float]] = attrs.Factory(list)
    _clients: dict[Device, Client] = attrs.Factory(dict)
    _readers: dict[Device, Reader] = attrs.Factory(dict)
    _edus: DeferredLock = attrs.Factory(DeferredLock)

    @classmethod
    async def make(cls, name: str, directory: Path, module: Any, database: Any) -> Lane:
        """Start what is beside a homeserver, which is not started yet."""
        files = directory / name
        files.mkdir()
        other, bridge = Other(), Bridge(files)
        await together(other.start(), bridge.start())
        config = bridge.configuration()
        config["experimental_features"].update(
            msc2697_enabled=False, msc3575_enabled=True, msc3814_enabled=True
        )
        homeserver = Homeserver(files, module=module, database=database, config=config)
        return cls(name, homeserver, other, bridge)

    async def stop(self) -> None:
        await self.homeserver.stop()
        await together(self.other.stop(), self.bridge.stop())

    async def die(self, end: Callable[[], Awaitable[None]]) -> None:
        """End the homeserver in some way, and start it again."""
        with self.patience.troubled():
            died = time.monotonic()
            await end()
            await self.homeserver.start()
            self.deaths.append((died, time.monotonic()))

    async def settle(self, people: list[User]) -> None:
        for user in people:
            if user.is_here:
                first, *_ = user.devices
                await self.homeserver.register(user.name, device_id=first.device_id)
                for device in user.devices:
                    await self.log_in(0, device)
            elif not user.is_abroad:
                (device,) = user.devices
                await self.bridge.register(
                    self.homeserver, username=user.name, device_id=device.device_id
                )

    async def send(self, number: int, said: Said) -> None:
        messages = {
            self._named(user.user_id): by_device
            for user, by_device in said.messages.items()
        }
        send = self._send_abroad if said.sender.user.is_abroad else self._send_here
        began = time.monotonic()
        await self.patience.insist(number, lambda: send(number, said, messages))
        self.asked[number] = began, time.monotonic()

    async def _send_here(self, number: int, said: Said, messages: Any) -> None:
        status = await self._clients[said.sender].send_to_device(
            said.message_type, messages, f"transaction{number}"
        )
        if status != 200:
            raise MatrixError(f"sendToDevice: {status}")

    async def _send_abroad(self, number: int, said: Said, messages: Any) -> None:
        sender, message_id = self._named(said.sender.user.user_id), f"message{number}"
        # Synapse takes one transaction of a server at a time.
        async with self._edus:
            status, _ = await self.other.send_edu(
                self.homeserver, sender, said.message_type, messages, message_id
            )
        if status != 200:
            raise MatrixError(f"EDU: {status}")
        sql = "SELECT 1 FROM device_federation_inbox WHERE message_id = ?"
        query = functools.partial(self.homeserver.query, sql, (message_id,))
        if not await become(lambda: query() != [], STORED_WITHIN_S):
            raise MatrixError("EDU: it is not stored")

    async def read(
        self, number: int, device: Device, loses: bool, acknowledges: bool
    ) -> None:
        """Read all there is; before, an answer may get lost on its way."""
        reader, history = self._readers[device], self.histories[device.place]
        from_start = isinstance(reader, FromStart)
        history.begun[number] = time.monotonic()
        if loses:
            await self.patience.insist(number, lambda: reader.ask(keep=False))
        got: Messages = []
        while page := await self.patience.insist(number, lambda: reader.ask(keep=True)):
            got += page
            if from_start or (len(page) < PAGE and not acknowledges):
                break
        history.read(number, self.as_in_life(got), again=from_start)

    async def log_in(self, number: int, device: Device) -> None:
        async def log_in() -> Client:
            client = await Client.login(
                self.homeserver.base_url, device.user.user_id, device.device_id
            )
            await self._upload(client, device)
            return client

        self._clients[device] = client = await self.patience.insist(number, log_in)
        self._readers[device] = (
            Sliding(SlidingSync(client, PAGE))
            if device.reads is Reads.SLIDING
            else Syncing(client, number)
        )
        self.histories[device.place] = History(device.born)

    async def log_out(self, number: int, device: Device) -> None:
        client = self._clients.pop(device)
        await self._close(number, device)

        async def log_out() -> None:
            status, _ = await client.request("POST", "/_matrix/client/v3/logout", {})
            # It is gone already where an answer was lost.
            if status not in {200, 401}:
                raise MatrixError(f"logout: {status}")

        await self.patience.insist(number, log_out)

    async def lose_store(self, number: int, device: Device) -> None:
        client = self._clients[device]
        await self.patience.insist(number, lambda: self._upload(client, device))

    async def dehydrate(
        self, number: int, device: Device, earlier: Device | None
    ) -> None:
        """Leave a dehydrated device, in the place of an earlier one."""
        if earlier is not None:
            await self._close(number, earlier)
        client = self._clients[device.user.devices[0]]
        submission = dehydrated(device.olm, device.device_id)

        async def dehydrate() -> None:
            # One that takes its own place would delete itself.
            _, body = await client.request("GET", DEHYDRATED)
            if body.get("device_id") != device.device_id:
                await client.succeed("PUT", DEHYDRATED, submission)

        await self.patience.insist(number, dehydrate)
        self.histories[device.place] = History(device.born)
        self._readers[device] = FromStart(
            lambda: self._clients[device.user.devices[0]], device.device_id
        )

    async def go_away(self, is_away: bool) -> None:
        self.other.refuses = is_away

    def waiting(self, device: Device) -> Messages:
        user_id = device.user.user_id
        return self.as_in_life(mailbox_of(self.homeserver, user_id, device.device_id))

    async def _close(self, number: int, device: Device) -> None:
        """Note what waited for a device when it went."""

        async def look() -> Messages:
            return self.waiting(device)

        waiting = await self.patience.insist(number, look)
        self.histories[device.place].read(number, waiting, again=True)

    async def _upload(self, client: Client, device: Device) -> None:
        """Upload device keys; nobody claims one-time keys."""
        keys = {"device_keys": device.olm.keys()["device_keys"]}
        await client.succeed("POST", "/_matrix/client/v3/keys/upload", keys)

    def _named(self, user_id: str) -> str:
        return user_id.replace(OTHER_SERVER, self.other.server_name)

    def as_in_life(self, messages: Messages) -> Messages:
        other = self.other.server_name
        return [
            {**each, "sender": each["sender"].replace(other, OTHER_SERVER)}
            for each in messages
        ]

    def rows(self, table: str = "device_inbox") -> int:
        sql = f"SELECT COUNT(*) FROM {table}"  # noqa: S608 it is one of ours
        return int(self.homeserver.query(sql)[0][0])

    def given(self) -> int:
        return sum(len(each.given) for each in self.histories.values())

    def answered_within(self, share: float) -> str:
        """Return within which time a share of requests was answered at once."""
        took = sorted(
            end - began
            for number, (began, end) in self.asked.items()
            if number not in self.patience.cut_off
        )
        return f"{took[int(len(took) * share)]:.3f} s"
