"""A homeserver that lives the life, and what its people were given."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from math import inf
from pathlib import Path
from typing import Any, Awaitable, Callable

import attrs
from twisted.internet.defer import DeferredLock

from tests.harness.client import DEHYDRATED, Client, Messages, dehydrated
from tests.harness.samples import FAILURES, HOUSEKEEPING, total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Bridge
from tests.harness.waiting import Patience, become, together, until
from tests.soak.history import PAGE, Ask, History, Other, from_start, slides, syncs
from tests.soak.people import OTHER_SERVER, Device, Place, Reads, User, number_of
from tests.soak.talk import Said

STORED_WITHIN_S = 5.0

# A transaction that has been open for five seconds has been forgotten.
OPEN = """
    SELECT COUNT(*) FROM pg_stat_activity
    WHERE datname = current_database() AND NOW() - xact_start > INTERVAL '5 seconds'
"""


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
    # When the homeserver went, and when it was back; what it held in the quiet time.
    deaths: list[tuple[float, float]] = attrs.Factory(list)
    held: defaultdict[str, list[float]] = attrs.Factory(lambda: defaultdict(list))
    _clients: dict[Device, Client] = attrs.Factory(dict)
    _asks: dict[Device, Ask] = attrs.Factory(dict)
    _edus: DeferredLock = attrs.Factory(DeferredLock)

    @classmethod
    def make(cls, name: str, directory: Path, module: Any, database: Any) -> Lane:
        """Start what is beside a homeserver, which is not started yet."""
        files = directory / name
        files.mkdir()
        histories: dict[Place, History] = {}
        other, bridge = Other(histories), Bridge(files)
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
                    await self.log_in(device)
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
                history = History(acknowledges=False)
                self.histories[device.place] = history
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

    async def read(self, device: Device, by: Device, loses: bool) -> None:
        """Read all there is; before, an answer may get lost on its way."""
        history, began = self.histories[device.place], time.monotonic()
        starts = device.reads is Reads.DEHYDRATED
        client = self._clients[by]
        ask = from_start(client, device) if starts else self._asks[device]
        if loses:
            await ask(False)
        while page := await ask(True):
            history.take(page, again=starts)
            # What came last is acknowledged with the next read.
            if starts or len(page) < PAGE:
                break
        history.reads.append(began)

    async def log_in(self, device: Device) -> None:
        anywhere = Client(self.homeserver.base_url, device.user.user_id, "", "")
        client = await anywhere.log_in(device.device_id)
        self._clients[device] = client
        # Nobody claims one-time keys.
        keys = {"device_keys": device.olm.keys()["device_keys"]}
        await client.succeed("POST", "/_matrix/client/v3/keys/upload", keys)
        is_sliding = device.reads is Reads.SLIDING
        self._asks[device] = slides(client) if is_sliding else syncs(client)
        self.histories[device.place] = History(device.born)

    async def log_out(self, device: Device) -> None:
        self._close(device)
        path = "/_matrix/client/v3/logout"
        status, _ = await self._clients[device].request("POST", path, {})
        # It is gone already where an answer was lost.
        assert status in {200, 401}

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
        self.histories[device.place] = History(device.born, acknowledges=False)

    async def go_away(self) -> None:
        self.other.refuses = not self.other.refuses

    def _close(self, device: Device) -> None:
        """Note what waited for a device when it went."""
        self.histories[device.place].take(self._waiting(device), again=True)

    def _waiting(self, device: Device) -> Messages:
        client = Client("", device.user.user_id, device.device_id, "")
        return self.homeserver.mailbox(client)

    def _named(self, user_id: str) -> str:
        return user_id.replace(OTHER_SERVER, self.other.server_name)

    async def look(self) -> None:
        process = Path(f"/proc/{self.homeserver.process.pid}")
        lines = (process / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        metrics = await self.homeserver.metrics()
        held = {
            "MiB of memory": int(status["VmRSS"].split()[0]) / 1024,
            "files": len(list((process / "fd").iterdir())),
            "threads": int(status["Threads"]),
            "old transactions": self.homeserver.query(OPEN)[0][0],
            "work that waits": total(metrics, HOUSEKEEPING),
            "failures of the module": total(metrics, FAILURES),
        }
        for name, value in held.items():
            self.held[name].append(value)

    def rows(self, table: str = "device_inbox") -> int:
        sql = f"SELECT COUNT(*) FROM {table}"  # noqa: S608 it is one of ours
        return int(self.homeserver.query(sql)[0][0])

    def took(self) -> list[float]:
        """Return how long the requests took that were answered at once."""
        cut_off = self.patience.cut_off
        asked = (times for number, times in self.asked.items() if number not in cut_off)
        return [end - began for began, end in asked]
