"""A homeserver that lives the life, and what its people were given."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from math import inf
from pathlib import Path
from typing import Any, Awaitable, Callable, Coroutine

import attrs
from twisted.internet.defer import DeferredLock

from tests.harness.client import DEHYDRATED, Client, Messages, SlidingSync, dehydrated
from tests.harness.servers.homeserver import Homeserver, mailbox_of
from tests.harness.servers.listening import Bridge
from tests.harness.waiting import Patience, become, together, until
from tests.soak.history import History, Other
from tests.soak.people import OTHER_SERVER, Device, Place, Reads, User, number_of
from tests.soak.talk import Said

PAGE = 100
STORED_WITHIN_S = 5.0

# Acknowledges what was kept, and returns what is left, or a page of it.
Ask = Callable[[bool], Coroutine[Any, Any, Messages]]


@attrs.define(eq=False)
class Lane:
    """A homeserver, with the module or without, and all that is beside it."""

    name: str
    homeserver: Homeserver
    other: Other
    bridge: Bridge
    histories: dict[Place, History] = attrs.Factory(dict)
    patience: Patience = attrs.Factory(Patience)
    # When each request with messages was made, and when answered.
    asked: dict[int, tuple[float, float]] = attrs.Factory(dict)
    # When the homeserver went, and when it was back.
    deaths: list[tuple[float, float]] = attrs.Factory(list)
    # What it held in the quiet time, by its name.
    held: defaultdict[str, list[float]] = attrs.Factory(lambda: defaultdict(list))
    _clients: dict[Device, Client] = attrs.Factory(dict)
    _asks: dict[Device, Ask] = attrs.Factory(dict)
    _edus: DeferredLock = attrs.Factory(DeferredLock)

    @classmethod
    async def make(cls, name: str, directory: Path, module: Any, database: Any) -> Lane:
        """Start what is beside a homeserver, which is not started yet."""
        files = directory / name
        files.mkdir()
        histories: dict[Place, History] = {}
        other, bridge = Other(histories), Bridge(files)
        await together(other.start(), bridge.start())
        config = bridge.configuration()
        config["experimental_features"].update(
            msc2697_enabled=False, msc3575_enabled=True, msc3814_enabled=True
        )
        homeserver = Homeserver(files, module=module, database=database, config=config)
        return cls(name, homeserver, other, bridge, histories)

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
            first, *_ = user.devices
            if user.is_here:
                await self.homeserver.register(user.name, device_id=first.device_id)
                for device in user.devices:
                    await self.log_in(0, device)
            elif not user.is_abroad:
                await self.bridge.register(self.homeserver, user.name, first.device_id)

    async def finish(self, people: list[User]) -> None:
        """Let all that waits for the other server and for services arrive."""
        self.other.refuses = False

        async def waiting() -> int:
            # Synapse takes notice of who is back once it hears of them.
            herald = self.other.user("herald")
            await self.other.send_edu(self.homeserver, herald, "m.dummy", {})
            return self.rows("device_federation_outbox")

        await until(waiting, lambda left: left == 0)
        for user in people:
            device = user.devices[0]
            if device.reads is Reads.SERVICE:
                client = Client("", user.user_id, device.device_id, "")
                # A Synapse that is killed may lose what it has read for the service.
                given = [*self.bridge.received(client), *self._waiting(device)]
                history = self.histories[device.place] = History()
                history.take(sorted(given, key=number_of), again=True)

    # What the steps of the life do. Each is done again if it failed.

    async def send(self, number: int, said: Said) -> None:
        messages = {
            self._named(user.user_id): by_device
            for user, by_device in said.messages.items()
        }
        began, _ = self.asked.setdefault(number, (time.monotonic(), inf))
        if said.sender.user.is_abroad:
            await self._send_abroad(number, said, messages)
        else:
            send, txn_id = self._clients[said.sender].send_to_device, f"txn{number}"
            assert await send(said.message_type, messages, txn_id) == 200
        self.asked[number] = began, time.monotonic()

    async def _send_abroad(self, number: int, said: Said, messages: Any) -> None:
        sender, message_id = self._named(said.sender.user.user_id), f"message{number}"
        # Synapse takes one transaction of a server at a time.
        async with self._edus:
            status, _ = await self.other.send_edu(
                self.homeserver, sender, said.message_type, messages, message_id
            )
        assert status == 200
        sql = "SELECT 1 FROM device_federation_inbox WHERE message_id = ?"
        query = functools.partial(self.homeserver.query, sql, (message_id,))
        assert await become(lambda: query() != [], STORED_WITHIN_S), "it is not stored"

    async def read(
        self, device: Device, by: Device, loses: bool, acknowledges: bool
    ) -> None:
        """Read all there is; before, an answer may get lost on its way."""
        history, began = self.histories[device.place], time.monotonic()
        from_start = device.reads is Reads.DEHYDRATED
        ask = self._from_start(device, by) if from_start else self._asks[device]
        if loses:
            await ask(False)
        while page := await ask(True):
            history.take(page, again=from_start)
            if from_start or (len(page) < PAGE and not acknowledges):
                break
        history.reads.append(began)

    async def log_in(self, number: int, device: Device) -> None:
        base_url, user_id = self.homeserver.base_url, device.user.user_id
        client = await Client.login(base_url, user_id, device.device_id)
        self._clients[device] = client
        await self.upload(device)
        read = _slides if device.reads is Reads.SLIDING else _syncs
        self._asks[device] = read(client, number)
        self.histories[device.place] = History(device.born)

    async def log_out(self, device: Device) -> None:
        self._close(device)
        path = "/_matrix/client/v3/logout"
        status, _ = await self._clients[device].request("POST", path, {})
        # It is gone already where an answer was lost.
        assert status in {200, 401}

    async def upload(self, device: Device) -> None:
        """Upload device keys; nobody claims one-time keys."""
        keys = {"device_keys": device.olm.keys()["device_keys"]}
        client = self._clients[device]
        await client.succeed("POST", "/_matrix/client/v3/keys/upload", keys)

    async def dehydrate(
        self, device: Device, by: Device, earlier: Device | None
    ) -> None:
        """Leave a dehydrated device, in the place of an earlier one."""
        if earlier is not None:
            self._close(earlier)
        client = self._clients[by]
        # One that takes its own place would delete itself.
        _, body = await client.request("GET", DEHYDRATED)
        if body.get("device_id") != device.device_id:
            submission = dehydrated(device.olm, device.device_id)
            await client.succeed("PUT", DEHYDRATED, submission)
        self.histories[device.place] = History(device.born)

    async def go_away(self, is_away: bool) -> None:
        self.other.refuses = is_away

    def _close(self, device: Device) -> None:
        """Note what waited for a device when it went."""
        self.histories[device.place].take(self._waiting(device), again=True)

    def _from_start(self, device: Device, by: Device) -> Ask:
        """Read a dehydrated device, as another of the user's."""
        client, path = self._clients[by], f"{DEHYDRATED}/{device.device_id}/events"

        async def ask(_: bool) -> Messages:
            body = await client.succeed("GET", path)
            messages: Messages = body["events"]
            while body["events"] and "next_batch" in body:
                since = {"from": body["next_batch"]}
                body = await client.succeed("GET", path, None, since)
                messages += body["events"]
            return messages

        return ask

    def _waiting(self, device: Device) -> Messages:
        return mailbox_of(self.homeserver, device.user.user_id, device.device_id)

    def _named(self, user_id: str) -> str:
        return user_id.replace(OTHER_SERVER, self.other.server_name)

    # What it was like.

    def rows(self, table: str = "device_inbox") -> int:
        sql = f"SELECT COUNT(*) FROM {table}"  # noqa: S608 it is one of ours
        return int(self.homeserver.query(sql)[0][0])

    def took(self) -> list[float]:
        """Return how long the requests took that were answered at once."""
        cut_off = self.patience.cut_off
        asked = (times for number, times in self.asked.items() if number not in cut_off)
        return [end - began for began, end in asked]


def _syncs(client: Client, number: int) -> Ask:
    since: str | None = None

    async def ask(keep: bool) -> Messages:
        nonlocal since
        # A first sync could be answered from a cache, if it was made before.
        answer = await client.sync(since, 0 if since else number)
        if keep:
            since = answer["next_batch"]
        messages: Messages = answer.get("to_device", {}).get("events", [])
        return messages

    return ask


def _slides(client: Client, _: int) -> Ask:
    connection = SlidingSync(client, PAGE)
    return lambda keep: connection.take() if keep else connection.look()
