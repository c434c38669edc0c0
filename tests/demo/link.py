"""People on two servers, of which one sends and the other receives."""

from __future__ import annotations

import itertools
import json
from typing import Iterable, Iterator, Sequence

import attrs

from tests.demo.checks import copies
from tests.demo.crossing import NEIGHBOUR, OTHER, SENDERS
from tests.demo.driving import TIDY_WITHIN_S, Cast, Measured
from tests.demo.output import Progress
from tests.demo.traffic import AWAY, RECIPIENT, TABLET, Send, device_id
from tests.harness.client import Client
from tests.harness.messages import make_message
from tests.harness.servers.homeserver import Homeserver, HomeserverError
from tests.harness.waiting import become

# Far beyond what a loaded machine needs: the end of hope, not a measurement.
DELIVERED_WITHIN_S = 30.0

_NUMBERS = itertools.count()


@attrs.define(eq=False)
class Link(Cast):
    """People on two servers, known to nobody else; the recipient has two devices.

    All texts name them as in what is sent: so those of two links compare.

    Attributes:
        sending: The server of those who send; the other one is the recipient's.
        waited: The EDUs that waited while the recipient's was away.
    """

    sending: Homeserver
    waited: Sequence[str] = attrs.field(default=(), init=False)

    async def arrive(self, sends: Iterable[Send]) -> None:
        """Send, each when the one before it has arrived."""
        for send in sends:
            await self.send([send])
            await self._delivered()

    async def come_back(self) -> None:
        """Let the receiver show that it is back; wait until all has arrived."""
        hello = {"*": {"call": "hello"}}
        await self.arrive([Send(NEIGHBOUR, OTHER, hello, to=SENDERS[0])])

    async def _delivered(self) -> None:
        """Wait until nothing waits for the receiver."""
        if not await become(lambda: not self._waiting(), DELIVERED_WITHIN_S):
            tails = [each.log_tail() for each in (self.sending, self.homeserver)]
            raise HomeserverError("\n".join(["A server did not deliver:", *tails]))

    async def wait_for_receiver(self, *, has_module: bool) -> None:
        """Note what waits, once the module has tidied it or should have."""
        if has_module:
            await become(lambda: not copies(alone(self._waiting())), TIDY_WITHIN_S)
        self.waited = self._waiting()

    def _waiting(self) -> list[str]:
        """Return the EDUs that wait for the recipient, in order: JSON text."""
        rows = self.sending.query(
            """
            SELECT messages_json FROM device_federation_outbox
            WHERE destination = ? ORDER BY stream_id
            """,
            (self.homeserver.server_name,),
        )
        # Others' wait for the same server.
        ours = f'"{self.people[RECIPIENT].user_id}"'
        return [self._named(text) for (text,) in rows if ours in text]

    def mailboxes(self) -> dict[str, tuple[str, ...]]:
        found = super().mailboxes()
        return {device: tuple(map(self._named, rows)) for device, rows in found.items()}

    async def measure(self) -> Measured:
        """Measure, with what both servers count."""
        found, sending = await super().measure(), await self.sending.metrics()
        names = {*found.metrics, *sending}
        metrics = {n: found.metrics.get(n, 0) + sending.get(n, 0) for n in names}
        synced = [json.loads(self._named(json.dumps(each))) for each in found.synced]
        return attrs.evolve(found, metrics=metrics, synced=synced, waited=self.waited)

    def _named(self, text: str) -> str:
        for name, client in self.people.items():
            text = text.replace(f'"{client.user_id}"', f'"{name}"')
        return text


async def link(sending: Homeserver, receiving: Homeserver, progress: Progress) -> Link:
    number = next(_NUMBERS)
    people = {
        name: await sending.register(f"{name}{number}", device_id=device_id(name))
        for name in SENDERS
    }
    for name, device in ((NEIGHBOUR, device_id(NEIGHBOUR)), (RECIPIENT, TABLET)):
        people[name] = await receiving.register(f"{name}{number}", device_id=device)
    tablet = people[RECIPIENT]
    away = await Client.login(receiving.base_url, tablet.user_id, device_id=AWAY)
    return Link(receiving, people, [away, tablet], progress.sent, sending)


def alone(edus: Iterable[str]) -> Iterator[str]:
    """Give the messages that share their EDU with no other, as rows have them."""
    for edu in map(json.loads, edus):
        contents = [each for to in edu["messages"].values() for each in to.values()]
        if len(contents) == 1:
            yield json.dumps(make_message(edu["sender"], contents[0], edu["type"]))
