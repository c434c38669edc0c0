"""A homeserver that lives the life, and what its people were given."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Awaitable, Callable, TypeVar, cast

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError

from tests.harness.clients.matrix import Client, MatrixError
from tests.harness.clients.messages import make_message
from tests.harness.clients.outward import IMPATIENT
from tests.harness.clients.readers import SlidingSync
from tests.harness.databases.mailbox import mailbox_of
from tests.harness.homeservers.bridge import Bridge
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import BRIDGE_TOKEN
from tests.harness.polling import pause
from tests.harness.together import cancellable, together
from tests.soak.history import END, History, Messages
from tests.soak.life import (
    Away,
    Dehydrate,
    LogIn,
    LogOut,
    LoseStore,
    Read,
    Send,
    Step,
)
from tests.soak.people import OTHER_SERVER, Device, Reads, User, number_of

T = TypeVar("T")

TRY_FOR_S, TRY_AGAIN_S, ANSWERED_WITHIN_S = 180.0, 0.2, 30.0
# After a restart of the database each of Synapse's connections may fail once.
UNSETTLED_FOR_S = 30.0
PAGE = 100
_DEHYDRATED = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"


class Other(RemoteServer):
    """The other server; it knows when each EDU came."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[float] = []

    def take(self, request: Any) -> Any:
        answer = super().take(request)
        new = len(self.received) - len(self.came)
        self.came += [time.monotonic()] * new
        return answer


@attrs.define(eq=False)
class Lane:
    """A homeserver, with the module or without, and all that is beside it.

    Attributes:
        histories: What each device was given.
        cut_off: Requests that had to be made again, by the number of the step.
        failed: Requests that were not answered 200 although nothing had happened.
        asked: When each request with messages was made and answered.
        took: How long requests with messages took.
        deaths: When the homeserver went, and when it was back.
        troubled_until: Until when requests may fail.
    """

    name: str
    homeserver: Homeserver
    other: Other
    bridge: Bridge
    histories: dict[tuple[str, str, int], History] = attrs.Factory(dict)
    cut_off: dict[int, str] = attrs.Factory(dict)
    failed: list[str] = attrs.Factory(list)
    asked: dict[int, tuple[float, float]] = attrs.Factory(dict)
    took: list[float] = attrs.Factory(list)
    deaths: list[tuple[float, float]] = attrs.Factory(list)
    troubled_until: float = 0.0
    _clients: dict[Device, Client] = attrs.Factory(dict)
    _sliding: dict[Device, SlidingSync] = attrs.Factory(dict)
    _since: dict[Device, str] = attrs.Factory(dict)

    @classmethod
    async def make(cls, name: str, directory: Path, module: Any, database: Any) -> Lane:
        """Start what is beside a homeserver, which is not started yet."""
        other, bridge = Other(), Bridge(directory)
        directory.mkdir()
        await other.start()
        await bridge.start()
        config = {**bridge.configuration(), **IMPATIENT}
        config["experimental_features"].update(
            msc2697_enabled=False, msc3575_enabled=True, msc3814_enabled=True
        )
        homeserver = Homeserver(
            directory, module=module, database=database, config=config
        )
        return cls(name, homeserver, other, bridge)

    async def stop(self) -> None:
        await self.homeserver.stop()
        await together(self.other.stop(), self.bridge.stop())

    async def settle(self, people: list[User]) -> None:
        """Register people, and log their devices in."""
        for user in people:
            if user.is_here:
                first = user.devices[0]
                client = await self.homeserver.register(
                    user.name, device_id=first.device_id
                )
                self._clients[first] = client
                await client.upload_keys(first.olm)
                for device in user.devices[1:]:
                    await self._log_in(device, 0)
            elif user.server != OTHER_SERVER:
                await self._register_bridged(user)
            for device in user.devices:
                self.histories[device.place] = History(0)

    async def take(self, step: Step) -> None:
        """Do what happens in a step, until it is done."""
        began = time.monotonic()
        if isinstance(step, Send):
            await self._send(step)
            self.asked[step.number] = began, time.monotonic()
            if step.number not in self.cut_off:
                self.took.append(time.monotonic() - began)
        elif isinstance(step, Read):
            await self._read(step)
        elif isinstance(step, LogIn):
            await self._log_in(step.device, step.number)
        elif isinstance(step, LogOut):
            await self._log_out(step)
        elif isinstance(step, LoseStore):
            await self._lose_store(step)
        elif isinstance(step, Dehydrate):
            await self._dehydrate(step)
        elif isinstance(step, Away):
            self.other.refuses = step.is_away

    def waiting(self, device: Device) -> Messages:
        """Return what waits for a device."""
        return self._as_in_life(
            mailbox_of(self.homeserver, device.user.user_id, device.device_id)
        )

    def rows(self) -> int:
        """Return how many messages wait for devices here."""
        ((count,),) = self.homeserver.query("SELECT COUNT(*) FROM device_inbox")
        return int(count)

    async def finish(self, people: list[User]) -> None:
        """Let all that waits for the other server and its people arrive."""
        self.other.refuses = False
        sql = "SELECT COUNT(*) FROM device_federation_outbox"
        began = time.monotonic()
        while self.homeserver.query(sql) != [(0,)]:
            # Synapse takes notice of who is back once it hears of them.
            herald = self.other.user("herald")
            await self.other.send_edu(self.homeserver, herald, "m.dummy", {})
            if time.monotonic() - began > TRY_FOR_S:
                self.failed.append("EDUs wait for the other server")
                return
            await pause(TRY_AGAIN_S)
        for user in people:
            for device in user.devices:
                if device.reads is Reads.SERVICE:
                    self._read_for_service(device)
        self._read_abroad()

    def _read_for_service(self, device: Device) -> None:
        """Put together what an application service was given and what is left.

        A Synapse that is killed may lose what it has read for the service.
        """
        client = Client("", device.user.user_id, device.device_id, "")
        all_of_it = [*self.bridge.received(client), *self.waiting(device)]
        unique = {number_of(each): each for each in all_of_it}
        in_order = [unique[number] for number in sorted(unique)]
        history = self.histories[device.place]
        history.read(END, self._as_in_life(in_order), again=True)

    def _read_abroad(self) -> None:
        """Give the other server's devices what came for them, each EDU once."""
        seen = set()
        for came, edu in zip(self.other.came, self.other.received):
            content = edu["content"]
            if edu["edu_type"] != "m.direct_to_device" or content["message_id"] in seen:
                continue
            seen.add(content["message_id"])
            for user_id, by_device in content["messages"].items():
                for device_id, said in by_device.items():
                    place = user_id.replace(self.other.server_name, OTHER_SERVER)
                    history = self.histories.setdefault(
                        (place, device_id, 0), History(0)
                    )
                    message = make_message(content["sender"], said, content["type"])
                    history.read(END, [message], again=False)
                    history.came.setdefault(number_of(message), came)

    # Sending.

    async def _send(self, step: Send) -> None:
        messages = {
            self._named(user.user_id): by_device
            for user, by_device in step.messages.items()
        }
        if step.sender.user.server == OTHER_SERVER:
            await self._send_from_abroad(step, messages)
            return
        client = self._clients[step.sender]

        async def send() -> None:
            status = await client.send_to_device(
                step.message_type, messages, f"transaction{step.number}"
            )
            if status != 200:
                raise MatrixError(f"sendToDevice: {status}")

        await self._insist(step.number, send)

    async def _send_from_abroad(self, step: Send, messages: Any) -> None:
        """Send an EDU, and wait until it is stored."""
        sender = self._named(step.sender.user.user_id)
        message_id = f"message{step.number}"

        async def send() -> None:
            status, _ = await self.other.send_edu(
                self.homeserver, sender, step.message_type, messages, message_id
            )
            if status != 200:
                raise MatrixError(f"EDU: {status}")
            for _ in range(100):
                if self.homeserver.query(
                    "SELECT 1 FROM device_federation_inbox "
                    "WHERE origin = ? AND message_id = ?",
                    (self.other.server_name, message_id),
                ):
                    return
                await pause()
            raise MatrixError("EDU: it was not stored")

        await self._insist(step.number, send)

    # Reading.

    async def _read(self, step: Read) -> None:
        device, number = step.device, step.number
        history = self.histories[device.place]
        history.begun.append(number)
        if device.reads is Reads.DEHYDRATED:
            messages = await self._insist(number, lambda: self._read_frozen(device))
            history.read(number, self._as_in_life(messages), again=True)
            return
        if device.reads is Reads.SLIDING:
            sliding = self._sliding.setdefault(
                device, SlidingSync(self._clients[device], PAGE)
            )

            async def take() -> Messages:
                return await self._slide(sliding, sliding.take)

            async def look() -> Messages:
                return await self._slide(sliding, sliding.look)

        else:

            async def take() -> Messages:
                return await self._sync(device, number, keep=True)

            async def look() -> Messages:
                return await self._sync(device, number, keep=False)

        if step.loses:
            await self._insist(number, look)
        got: Messages = []
        while page := await self._insist(number, take):
            got += page
            if len(page) < PAGE and not step.acknowledges:
                break
        history.read(number, self._as_in_life(got), again=False)

    async def _sync(self, device: Device, number: int, *, keep: bool) -> Messages:
        since = self._since.get(device)
        # An initial sync could be answered from a cache, if it was made before.
        timeout_ms = number if since is None else 0
        answer = await self._clients[device].sync(since, timeout_ms)
        if keep:
            self._since[device] = answer["next_batch"]
        messages: Messages = answer.get("to_device", {}).get("events", [])
        return messages

    @staticmethod
    async def _slide(
        sliding: SlidingSync, ask: Callable[[], Awaitable[Messages]]
    ) -> Messages:
        try:
            return await ask()
        except AssertionError as error:
            # Its position is unknown: it begins again, with what it acknowledged.
            sliding._pos = None
            raise MatrixError(str(error)) from error

    async def _read_frozen(self, device: Device) -> Messages:
        """Read the mailbox of a dehydrated device from the start."""
        client = self._clients[device.user.devices[0]]
        messages: Messages = []
        since: dict[str, str] = {}
        while True:
            path = f"{_DEHYDRATED}/{device.device_id}/events"
            body = await _good(client, "GET", path, params=since)
            messages += body["events"]
            if not body["events"] or "next_batch" not in body:
                return messages
            since = {"from": body["next_batch"]}

    # Devices that come and go.

    async def _log_in(self, device: Device, number: int) -> None:
        async def log_in() -> None:
            client = await Client.login(
                self.homeserver.base_url,
                device.user.user_id,
                device_id=device.device_id,
            )
            await client.upload_keys(device.olm)
            self._clients[device] = client

        await self._insist(number, log_in)
        self.histories[device.place] = History(number)

    async def _log_out(self, step: LogOut) -> None:
        client = self._clients.pop(step.device)
        self._close(step.device, step.number)

        async def log_out() -> None:
            status, body = await client.request("POST", "/_matrix/client/v3/logout", {})
            # It is gone already where the answer to the first request was lost.
            if status not in {200, 401}:
                raise MatrixError(f"logout: {status} {body}")

        await self._insist(step.number, log_out)

    async def _lose_store(self, step: LoseStore) -> None:
        """Upload new device keys; the one-time keys would be taken for the old ones."""
        client, olm = self._clients[step.device], step.device.olm
        keys = {"device_keys": olm.keys()["device_keys"]}
        path = "/_matrix/client/v3/keys/upload"
        await self._insist(step.number, lambda: _good(client, "POST", path, keys))

    async def _dehydrate(self, step: Dehydrate) -> None:
        device = step.device
        client = self._clients[device.user.devices[0]]
        if step.earlier is not None:
            self._close(step.earlier, step.number)
        submission = {
            "device_id": device.device_id,
            "initial_device_display_name": "dehydrated",
            "device_data": {"algorithm": "org.matrix.msc3814.v1.olm", "account": "x"},
            **device.olm.keys(),
        }

        async def dehydrate() -> None:
            # Twice the same one would delete itself.
            _, body = await client.request("GET", _DEHYDRATED)
            if body.get("device_id") != device.device_id:
                await _good(client, "PUT", _DEHYDRATED, submission)

        await self._insist(step.number, dehydrate)
        self.histories[device.place] = History(step.number)

    def _close(self, device: Device, number: int) -> None:
        """Note what waited for a device when it went."""
        history = self.histories[device.place]
        history.read(number, self.waiting(device), again=True)

    async def _register_bridged(self, user: User) -> None:
        service = Client(self.homeserver.base_url, "", "", BRIDGE_TOKEN)
        registration = {
            "type": "m.login.application_service",
            "username": user.name,
            "device_id": user.devices[0].device_id,
        }
        await _good(service, "POST", "/_matrix/client/v3/register", registration)

    # Patience.

    async def _insist(self, number: int, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        began = time.monotonic()
        while True:
            try:
                return await in_time(ask())
            except CancelledError:
                raise
            except Exception as error:  # whatever it is: it is not there
                why = f"step {number}: {error!r}"
                is_troubled = time.monotonic() < self.troubled_until
                if not is_troubled:
                    self.failed.append(why)
                if time.monotonic() - began > (TRY_FOR_S if is_troubled else 5):
                    raise
                self.cut_off[number] = why
            await pause(TRY_AGAIN_S)

    def _named(self, user_id: str) -> str:
        return user_id.replace(OTHER_SERVER, self.other.server_name)

    def _as_in_life(self, messages: Messages) -> Messages:
        other = self.other.server_name
        return [
            {**each, "sender": each["sender"].replace(other, OTHER_SERVER)}
            for each in messages
        ]


async def in_time(coroutine: Awaitable[T]) -> T:
    """Wait for a coroutine, but not for ever."""
    running = cancellable(cast("Any", coroutine))
    answer: T = await running.addTimeout(ANSWERED_WITHIN_S, cast("Any", reactor))
    return answer


async def _good(client: Client, method: str, path: str, *what: Any, **how: Any) -> Any:
    status, body = await client.request(method, path, *what, **how)
    if status != 200:
        raise MatrixError(f"{method} {path}: {status} {body}")
    return body
