"""How a device reads, what it was given, and what its client knows of that."""

from __future__ import annotations

import functools
import json
import re
import time
from typing import Any, Callable, Coroutine

import attrs

from tests.harness.client import DEHYDRATED, Client, Messages, SlidingSync
from tests.harness.messages import OLDER_WITHHELD, WITHHELD, make_message
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import LOOPBACK
from tests.model import client as model
from tests.soak.people import OTHER_SERVER, Device, Place, number_of

PAGE = 100

# Of the other server, on either lane.
_ADDRESS = re.compile(rf"{LOOPBACK}:\d+")

# Acknowledges what was kept, and returns what is left, or a page of it.
Ask = Callable[[bool], Coroutine[Any, Any, Messages]]


def syncs(client: Client) -> Ask:
    since: str | None = None

    async def ask(keep: bool) -> Messages:
        nonlocal since
        answer = await client.sync(since)
        if keep:
            since = answer["next_batch"]
        return list(answer.get("to_device", {}).get("events", []))

    return ask


def slides(client: Client) -> Ask:
    connection = SlidingSync(client, PAGE)
    return lambda keep: connection.take() if keep else connection.look()


def from_start(client: Client, device: Device) -> Ask:
    """Read a dehydrated device, as another of the user's."""
    path = f"{DEHYDRATED}/{device.device_id}/events"

    async def ask(_: bool) -> Messages:
        body = await client.succeed("GET", path)
        messages: Messages = body["events"]
        while body["events"] and "next_batch" in body:
            since = {"from": body["next_batch"]}
            body = await client.succeed("GET", path, None, since)
            messages += body["events"]
        return messages

    return ask


@attrs.define(eq=False)
class History:
    """What a device was given, from its login on, by the numbers of the messages."""

    born: int = 0  # the number of the step in which it logged in
    acknowledges: bool = True
    given: dict[int, dict[str, Any]] = attrs.Factory(dict)
    # When it began to read, and was given all there was.
    reads: list[float] = attrs.Factory(list)
    twice: set[int] = attrs.Factory(set)  # without a reason
    unordered: set[int] = attrs.Factory(set)  # they came after newer ones
    came: dict[int, float] = attrs.Factory(dict)  # when, where that is known

    def take(self, messages: Messages, *, again: bool) -> None:
        newest = max(self.given, default=0)
        for message in messages:
            number = number_of(message)
            # Synapse deletes what was for an earlier device with its ID, but later.
            if number < self.born:
                continue
            if number not in self.given:
                if number < newest:
                    self.unordered.add(number)
                newest = max(newest, number)
                # Its keys may be in another order each time.
                text = json.dumps(message, sort_keys=True)
                self.given[number] = _message(_ADDRESS.sub(OTHER_SERVER, text))
            elif not again:
                self.twice.add(number)

    def known(self, now_ts: int, ignored: Callable[[int], bool]) -> tuple[Any, ...]:
        """Return what its client knows, but for messages that nobody heeds."""
        client = Knowing()
        client.give(
            message
            for number, message in self.given.items()
            if model.is_heeded(message, now_ts) and not ignored(number)
        )
        return client.knows


@functools.cache
def _message(text: str) -> dict[str, Any]:
    """Return the same message to all who are given it: they take much memory."""
    message: dict[str, Any] = json.loads(text)
    return message


class Knowing(model.Client):
    """A client that knows that devices change their keys.

    Of a device that names itself it knows the newest key that has no Olm session.
    """

    def _read(self, sender: str, message_type: str, content: dict[str, Any]) -> None:
        is_withheld = message_type in {WITHHELD, OLDER_WITHHELD}
        is_no_olm = is_withheld and content["code"] == "m.no_olm"
        if is_no_olm and "from_device" in content:
            self.codes[sender, content["from_device"]] = content["sender_key"]
        else:
            super()._read(sender, message_type, content)


class Other(RemoteServer):
    """The other server, which gives its devices what comes for them, each EDU once."""

    def __init__(self, histories: dict[Place, History]) -> None:
        super().__init__()
        self._histories = histories
        self._seen: set[str] = set()

    def take(self, request: Any) -> Any:
        known = len(self.received)
        answer = super().take(request)
        for edu in self.received[known:]:
            content = edu["content"]
            is_ours = edu["edu_type"] == "m.direct_to_device"
            if is_ours and content["message_id"] not in self._seen:
                self._seen.add(content["message_id"])
                self._give(content)
        return answer

    def _give(self, content: dict[str, Any]) -> None:
        for user_id, by_device in content["messages"].items():
            name = user_id.replace(self.server_name, OTHER_SERVER)
            for device_id, said in by_device.items():
                history = self._histories.setdefault((name, device_id, 0), History())
                message = make_message(content["sender"], said, content["type"])
                history.take([message], again=False)
                history.came.setdefault(number_of(message), time.monotonic())
