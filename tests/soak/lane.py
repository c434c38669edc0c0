"""A homeserver that lives the life, and what its people were given."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Awaitable, Callable, TypeVar, cast

import attrs
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, DeferredLock
from twisted.python.failure import Failure

from tests.harness.clients.matrix import Client, MatrixError
from tests.harness.clients.messages import make_message
from tests.harness.clients.outward import IMPATIENT
from tests.harness.clients.readers import SlidingSync
from tests.harness.databases.mailbox import mailbox_of
from tests.harness.homeservers.bridge import Bridge
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import BRIDGE_TOKEN
from tests.harness.polling import become, pause
from tests.harness.together import cancellable, together
from tests.soak.history import END, History, Messages
from tests.soak.people import OTHER_SERVER, Device, Reads, User, number_of
from tests.soak.reading import DEHYDRATED, PAGE, FromStart, Sliding, Syncing, good
from tests.soak.talk import Said

T = TypeVar("T")

TRY_AGAIN_S, ANSWERED_WITHIN_S, STORED_WITHIN_S = 0.2, 30.0, 5.0
# How long requests are made again, where something befell and where nothing did.
TRY_FOR_S, TRY_QUIETLY_FOR_S = 180.0, 5.0
# After a restart of the database each of Synapse's connections may fail once.
UNSETTLED_FOR_S = 15.0
NO_ANSWER = object()


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
        cut_off: Requests that had to be made again, by the number of the step.
        failed: Requests that failed although nothing had befallen.
        asked: When each request with messages was made, and when answered.
        deaths: When the homeserver went, and when it was back.
        troubled_until: Until when requests may fail.
    """

    name: str
    homeserver: Homeserver
    other: Other
    bridge: Bridge
    histories: dict[tuple[str, str, int], History] = attrs.Factory(dict)
    cut_off: set[int] = attrs.Factory(set)
    failed: list[str] = attrs.Factory(list)
    asked: dict[int, tuple[float, float]] = attrs.Factory(dict)
    deaths: list[tuple[float, float]] = attrs.Factory(list)
    troubled_until: float = 0.0
    _clients: dict[Device, Client] = attrs.Factory(dict)
    _readers: dict[Device, Syncing | Sliding | FromStart] = attrs.Factory(dict)
    _edus: DeferredLock = attrs.Factory(DeferredLock)

    @classmethod
    async def make(cls, name: str, directory: Path, module: Any, database: Any) -> Lane:
        """Start what is beside a homeserver, which is not started yet."""
        directory.mkdir()
        other, bridge = Other(), Bridge(directory)
        await together(other.start(), bridge.start())
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
                first, *_ = user.devices
                await self.homeserver.register(user.name, device_id=first.device_id)
                for device in user.devices:
                    await self.log_in(0, device)
            elif not user.is_abroad:
                await self._register_bridged(user)

    # What happens in steps.

    async def send(self, number: int, said: Said) -> None:
        """Send messages to devices."""
        messages = {
            self._named(user.user_id): by_device
            for user, by_device in said.messages.items()
        }
        send = self._send_abroad if said.sender.user.is_abroad else self._send_here
        began = time.monotonic()
        await self._insist(number, lambda: send(number, said, messages))
        self.asked[number] = began, time.monotonic()

    async def _send_here(self, number: int, said: Said, messages: Any) -> None:
        client, transaction_id = self._clients[said.sender], f"transaction{number}"
        kind = said.message_type
        status = await client.send_to_device(kind, messages, transaction_id)
        if status != 200:
            raise MatrixError(f"sendToDevice: {status}")

    async def _send_abroad(self, number: int, said: Said, messages: Any) -> None:
        """Send an EDU, and wait until it is stored."""
        sender, message_id = self._named(said.sender.user.user_id), f"message{number}"
        # Synapse takes one transaction of a server at a time.
        async with self._edus:
            status, _ = await self.other.send_edu(
                self.homeserver, sender, said.message_type, messages, message_id
            )
        if status != 200:
            raise MatrixError(f"EDU: {status}")
        sql = "SELECT 1 FROM device_federation_inbox WHERE message_id = ?"

        def is_stored() -> bool:
            return bool(self.homeserver.query(sql, (message_id,)))

        if not await become(is_stored, STORED_WITHIN_S):
            raise MatrixError("EDU: it is not stored")

    async def read(
        self, number: int, device: Device, loses: bool, acknowledges: bool
    ) -> None:
        """Read all there is.

        Args:
            number: Of the step.
            device: Which reads.
            loses: Whether an answer gets lost on its way before.
            acknowledges: Whether it is still there to acknowledge the last one.
        """
        reader, history = self._readers[device], self.histories[device.place]
        from_start = isinstance(reader, FromStart)
        history.begun.append(number)
        if loses:
            await self._insist(number, lambda: reader.ask(keep=False))
        got: Messages = []
        while page := await self._insist(number, lambda: reader.ask(keep=True)):
            got += page
            if from_start or (len(page) < PAGE and not acknowledges):
                break
        history.read(number, self._as_in_life(got), again=from_start)

    async def log_in(self, number: int, device: Device) -> None:
        """Log a device in, and upload its keys."""

        async def log_in() -> Client:
            client = await Client.login(
                self.homeserver.base_url,
                device.user.user_id,
                device_id=device.device_id,
            )
            await self._upload(client, device)
            return client

        client = await self._insist(number, log_in)
        self._clients[device] = client
        is_sliding = device.reads is Reads.SLIDING
        self._readers[device] = Syncing(client, number)
        if is_sliding:
            self._readers[device] = Sliding(SlidingSync(client, PAGE))
        self.histories[device.place] = History(device.born)

    async def log_out(self, number: int, device: Device) -> None:
        """Log a device out, which deletes it."""
        client = self._clients.pop(device)
        await self._close(number, device)

        async def log_out() -> None:
            status, _ = await client.request("POST", "/_matrix/client/v3/logout", {})
            # It is gone already where an answer was lost.
            if status not in {200, 401}:
                raise MatrixError(f"logout: {status}")

        await self._insist(number, log_out)

    async def lose_store(self, number: int, device: Device) -> None:
        """Upload the keys of a new crypto store."""
        client = self._clients[device]
        await self._insist(number, lambda: self._upload(client, device))

    async def dehydrate(
        self, number: int, device: Device, earlier: Device | None
    ) -> None:
        """Leave a dehydrated device, in the place of an earlier one."""
        if earlier is not None:
            await self._close(number, earlier)
        client = self._clients[device.user.devices[0]]
        submission = {
            "device_id": device.device_id,
            "device_data": {"algorithm": "org.matrix.msc3814.v1.olm", "account": "x"},
            "initial_device_display_name": "dehydrated",
            **device.olm.keys(),
        }

        async def dehydrate() -> None:
            # One that takes its own place would delete itself.
            _, body = await client.request("GET", DEHYDRATED)
            if body.get("device_id") != device.device_id:
                await good(client, "PUT", DEHYDRATED, submission)

        await self._insist(number, dehydrate)
        self.histories[device.place] = History(device.born)
        self._readers[device] = FromStart(
            lambda: self._clients[device.user.devices[0]], device.device_id
        )

    async def go_away(self, is_away: bool) -> None:
        """Let the other server go away, or come back."""
        self.other.refuses = is_away

    # What is left in the end.

    def waiting(self, device: Device) -> Messages:
        """Return what waits for a device."""
        user_id = device.user.user_id
        return self._as_in_life(mailbox_of(self.homeserver, user_id, device.device_id))

    def rows(self) -> int:
        """Return how many messages wait for devices here."""
        ((count,),) = self.homeserver.query("SELECT COUNT(*) FROM device_inbox")
        return int(count)

    async def finish(self, people: list[User]) -> None:
        """Let all that waits for the other server and its people arrive."""
        self.other.refuses = False
        sql, began = "SELECT COUNT(*) FROM device_federation_outbox", time.monotonic()
        while self.homeserver.query(sql) != [(0,)]:
            # Synapse takes notice of who is back once it hears of them.
            herald = self.other.user("herald")
            await self.other.send_edu(self.homeserver, herald, "m.dummy", {})
            if time.monotonic() - began > TRY_FOR_S:
                self.failed.append("EDUs wait for the other server")
                break
            await pause(TRY_AGAIN_S)
        for user in people:
            if not user.is_here and not user.is_abroad:
                self._read_for_service(user.devices[0])
        self._read_abroad()

    def _read_for_service(self, device: Device) -> None:
        """Put together what an application service was given and what is left.

        A Synapse that is killed may lose what it has read for the service.
        """
        client = Client("", device.user.user_id, device.device_id, "")
        messages = [*self.bridge.received(client), *self.waiting(device)]
        messages.sort(key=number_of)
        history = self.histories.setdefault(device.place, History(0))
        history.read(END, self._as_in_life(messages), again=True)

    def _read_abroad(self) -> None:
        """Give devices on the other server what came for them, each EDU once."""
        seen = set()
        for came, edu in zip(self.other.came, self.other.received):
            content = edu["content"]
            if edu["edu_type"] != "m.direct_to_device" or content["message_id"] in seen:
                continue
            seen.add(content["message_id"])
            for user_id, by_device in content["messages"].items():
                for device_id, said in by_device.items():
                    name = user_id.replace(self.other.server_name, OTHER_SERVER)
                    place = name, device_id, 0
                    history = self.histories.setdefault(place, History(0))
                    message = make_message(content["sender"], said, content["type"])
                    history.read(END, [message], again=False)
                    history.came.setdefault(number_of(message), came)

    # What all of this needs.

    async def _close(self, number: int, device: Device) -> None:
        """Note what waited for a device when it went."""

        async def look() -> Messages:
            return self.waiting(device)

        waiting = await self._insist(number, look)
        self.histories[device.place].read(number, waiting, again=True)

    async def _register_bridged(self, user: User) -> None:
        service = Client(self.homeserver.base_url, "", "", BRIDGE_TOKEN)
        registration = {
            "type": "m.login.application_service",
            "username": user.name,
            "device_id": user.devices[0].device_id,
        }
        await good(service, "POST", "/_matrix/client/v3/register", registration)

    async def _upload(self, client: Client, device: Device) -> None:
        """Upload device keys; nobody claims one-time keys."""
        keys = {"device_keys": device.olm.keys()["device_keys"]}
        await good(client, "POST", "/_matrix/client/v3/keys/upload", keys)

    async def _insist(self, number: int, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer."""
        began = time.monotonic()
        while True:
            running = cancellable(cast("Any", ask()))
            running.addTimeout(ANSWERED_WITHIN_S, cast("Any", reactor))
            running.addErrback(self._note, number, began)
            answer = await running
            if answer is not NO_ANSWER:
                return cast("T", answer)
            await pause(TRY_AGAIN_S)

    def _note(self, failure: Failure, number: int, began: float) -> object:
        """Note that a request failed, which is to be made again."""
        is_troubled = time.monotonic() < self.troubled_until
        if not is_troubled:
            self.failed.append(f"step {number}: {failure.value!r}")
        try_for_s = TRY_FOR_S if is_troubled else TRY_QUIETLY_FOR_S
        if (
            isinstance(failure.value, CancelledError)
            or time.monotonic() - began > try_for_s
        ):
            failure.raiseException()
        self.cut_off.add(number)
        return NO_ANSWER

    def _named(self, user_id: str) -> str:
        return user_id.replace(OTHER_SERVER, self.other.server_name)

    def _as_in_life(self, messages: Messages) -> Messages:
        other = self.other.server_name
        return [
            {**each, "sender": each["sender"].replace(other, OTHER_SERVER)}
            for each in messages
        ]
