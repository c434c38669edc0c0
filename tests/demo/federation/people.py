"""People on two servers, of which one sends and the other receives."""

from __future__ import annotations

import itertools
from typing import Callable, Iterable, Mapping

import attrs

from tests.demo.federation.traffic import NEIGHBOUR, OTHER, RECIPIENT, SENDERS, Request
from tests.demo.traffic import AWAY, TABLET, device_id
from tests.harness.clients.matrix import Client
from tests.harness.databases.mailbox import rows_of
from tests.harness.homeservers.homeserver import Homeserver, HomeserverError
from tests.harness.polling import become

OK = 200

# Far beyond what a loaded machine needs: the end of hope, not a measurement.
DELIVERED_WITHIN_S = 30.0
CALL_EVERY_S = 1.0

_NUMBERS = itertools.count()


@attrs.define(eq=False)
class Link:
    """People on two servers, known to nobody else; the recipient has two devices.

    Attributes:
        people: Who sends, by name.
        failed: How many requests were not answered 200.
    """

    sender: Homeserver
    receiver: Homeserver
    people: Mapping[str, Client]
    away: Client
    tablet: Client
    failed: int = attrs.field(default=0, init=False)

    async def send(
        self, requests: Iterable[Request], sent: Callable[[], None] = lambda: None
    ) -> None:
        """Send requests, one after the other; call `sent` after each."""
        for request in requests:
            to = self.people[request.to].user_id
            messages = {to: dict(request.messages)}
            client = self.people[request.sender]
            status = await client.send_to_device(request.message_type, messages)
            self.failed += status != OK
            sent()

    async def send_and_deliver(
        self, requests: Iterable[Request], sent: Callable[[], None]
    ) -> None:
        """Send requests, each when the one before it has arrived."""
        for request in requests:
            await self.send([request], sent)
            await self.delivered()

    async def return_of_receiver(self) -> None:
        """Let the receiver show that it is back; wait until all has arrived."""
        await self.call(NEIGHBOUR, SENDERS[0])
        await self.delivered()

    async def delivered(self) -> None:
        """Wait until nothing waits for the receiver.

        Now and then a stock Synapse on PostgreSQL leaves an EDU until the next one
        for the same server: when its stream position was not readable yet because
        a write for somebody else was still under way.

        Raises:
            HomeserverError: Something waits, after a long time.
        """
        for _ in range(int(DELIVERED_WITHIN_S / CALL_EVERY_S)):
            if await become(lambda: not self.waiting(), CALL_EVERY_S):
                return
            await self.call(SENDERS[0], NEIGHBOUR)
        tails = [each.log_tail() for each in (self.sender, self.receiver)]
        raise HomeserverError("\n".join(["A server did not deliver:", *tails]))

    async def call(self, sender: str, to: str) -> None:
        """Let one of the people send another something: its server takes notice."""
        await self.send([Request(sender, OTHER, {"*": {"call": "hello"}}, to=to)])

    def waiting(self) -> tuple[str, ...]:
        """Return the EDUs that wait for the recipient, in order: JSON text."""
        rows = self.sender.query(
            """
            SELECT messages_json FROM device_federation_outbox
            WHERE destination = ? ORDER BY stream_id
            """,
            (self.receiver.server_name,),
        )
        # Others' wait for the same server.
        ours = f'"{self.away.user_id}"'
        return tuple(self.named(text) for (text,) in rows if ours in text)

    def mailboxes(self) -> dict[str, tuple[str, ...]]:
        return {
            client.device_id: tuple(map(self.named, rows_of(self.receiver, client)))
            for client in (self.away, self.tablet)
        }

    def named(self, text: str) -> str:
        """Return JSON text with the people named as in the requests."""
        for name, client in self.people.items():
            text = text.replace(f'"{client.user_id}"', f'"{name}"')
        return text


async def link(sender: Homeserver, receiver: Homeserver) -> Link:
    number = next(_NUMBERS)
    people = {
        name: await sender.register(f"{name}{number}", device_id=device_id(name))
        for name in SENDERS
    }
    for name, device in ((NEIGHBOUR, device_id(NEIGHBOUR)), (RECIPIENT, TABLET)):
        people[name] = await receiver.register(f"{name}{number}", device_id=device)
    tablet = people[RECIPIENT]
    away = await Client.login(receiver.base_url, tablet.user_id, device_id=AWAY)
    return Link(sender, receiver, people, away, tablet)
