"""Senders to another server, and those who try again until they are answered."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from math import inf
from typing import Any, AsyncIterator, Callable

import attrs
from twisted.internet.defer import ensureDeferred

from tests.harness.client import Client
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Two, new_name, send
from tests.harness.waiting import Patience, eventually, together, until


@attrs.frozen
class Outward(Two):
    """A sender here, and a recipient on another server."""

    remote: RemoteServer

    def outbox(self) -> list[dict[str, Any]]:
        sql = "SELECT messages_json FROM device_federation_outbox WHERE destination = ?"
        there = (self.remote.server_name,)
        rows = self.homeserver.query(f"{sql} ORDER BY stream_id", there)
        edus = [json.loads(text) for (text,) in rows]
        return [each["messages"][self.recipient.user_id] for each in edus]

    def received(self) -> list[dict[str, Any]]:
        edus = self.remote.to_device()
        return [each["messages"][self.recipient.user_id] for each in edus]

    async def return_of_the_other(self) -> None:
        """Let the other server take transactions again, and say so by sending one."""
        self.remote.refuses = False

        async def waits() -> list[dict[str, Any]]:
            herald = self.remote.user("herald")
            await self.remote.send_edu(self.homeserver, herald, PLAIN, {})
            return self.outbox()

        await until(waits, lambda waiting: waiting == [])


async def outward_from(homeserver: Homeserver, remote: RemoteServer) -> Outward:
    """Register a sender, whose recipient's server is away."""
    remote.refuses = True
    name = new_name("outward")
    sender = await homeserver.register(name, device_id="SENDERDEV")
    recipient = Client("", remote.user("recipient"), "A", "")
    return Outward(homeserver, sender, recipient, make_key(name), remote)


@attrs.define
class Persistent:
    """One sender's device: notices, plain messages, and now and then one that re-arms.

    Attributes:
        told: The numbers of the plain and Olm messages that it was told are sent.
        patience: What is never at its end, whatever befalls the homeserver.
    """

    client: Client
    recipient: Client
    told: list[int] = attrs.Factory(list)
    patience: Patience = attrs.Factory(lambda: Patience(troubled_until=inf))

    async def send(self, is_over: Callable[[int], bool]) -> None:
        """Send messages, each until it is answered, until so many are enough."""
        for number in count():
            if is_over(number):
                return
            kind, content = self._message(number)
            again = partial(send, self.client, self.recipient, content, kind)
            await self.patience.insist(number, again)
            if kind != WITHHELD:
                self.told.append(number)

    def _message(self, number: int) -> tuple[str, dict[str, Any]]:
        key = make_key(self.client.user_id)
        if number % 3:
            return WITHHELD, make_notice(key, self.client.device_id)
        if number % 15 == 0:
            olm = make_olm_lookalike(key, make_key("recipient"))
            return ENCRYPTED, {**olm, "number": number}
        return PLAIN, {"number": number}


@asynccontextmanager
async def storm(senders: list[Persistent], at_least: int) -> AsyncIterator[None]:
    """Let all of them send while something happens, and each at least so many."""
    is_over = False
    enough = lambda number: is_over and number >= at_least  # noqa: E731
    sent = ensureDeferred(together(*(each.send(enough) for each in senders)))
    try:
        await eventually(lambda: all(len(each.told) > 5 for each in senders), True)
        yield
    except BaseException:
        sent.addErrback(lambda _: None).cancel()
        raise
    is_over = True
    await sent


def numbers_from(sender: Persistent, read: list[dict[str, Any]]) -> list[int]:
    """Return the numbers of a sender's plain and Olm messages, in order of arrival.

    One that arrived twice, since it had to be sent twice, counts once.
    """
    user_id = sender.client.user_id
    own = [each for each in read if each["sender"] == user_id]
    found = [each["content"]["number"] for each in own if each["type"] != WITHHELD]
    return list(dict.fromkeys(found))


def notices_from(sender: Persistent, read: list[dict[str, Any]]) -> int:
    types = [each["type"] for each in read if each["sender"] == sender.client.user_id]
    return types.count(WITHHELD)
