"""Some minutes of a homeserver: people who talk, and devices that cannot decrypt."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import attrs

from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.clients.outward import Outward
from tests.harness.databases.backlog import notice, other
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.polling import pause

PEOPLE = ("anna", "bela", "chidi", "dana", "emre", "fatima", "gil", "hana")
# How likely each is to be the one whose device complains next.
WEIGHTS = (34, 21, 13, 8, 5, 3, 2, 1)
# Who is away and reads only now and then.
AWAY = ("tablet", "old-phone", "laptop", "work")

BACKLOG = 20_000


@attrs.define
class Life:
    """Everybody on a homeserver, one who sends to another that is away, and chance."""

    homeserver: Homeserver
    people: list[Client]
    away: list[Client]
    outward: Outward
    chance: random.Random

    @classmethod
    async def begin(cls, homeserver: Homeserver, outward: Outward) -> Life:
        people = [await homeserver.register(name) for name in PEOPLE]
        away = [await homeserver.register(f"away-{name}") for name in AWAY]
        return cls(homeserver, people, away, outward, random.Random(7))  # noqa: S311 no secret

    async def go_on(self, seconds: float) -> None:
        """Let things happen, more or less of them over the time."""
        ends = time.monotonic() + seconds
        busy = 4.0
        while time.monotonic() < ends:
            busy = min(8.0, max(0.5, busy * self.chance.uniform(0.9, 1.11)))
            await self._happen()
            await pause(self.chance.expovariate(busy))

    async def _happen(self) -> None:
        (person,) = self.chance.choices(self.people, WEIGHTS)
        other = self.chance.choice(self.away)
        key = make_key(person.user_id)
        what = self.chance.random()
        if what < 0.80:
            await _send(person, other, WITHHELD, make_notice(key, person.device_id))
        elif what < 0.90:
            olm = make_olm_lookalike(key, make_key(other.user_id))
            await _send(person, other, ENCRYPTED, olm)
        elif what < 0.93:
            token = (await other.sync())["next_batch"]
            await other.sync(token)
        else:
            await self.outward.send(self.outward.notice())


def leave_backlog(homeserver: Homeserver, recipient: Client) -> None:
    """Put a mailbox full of copies into the database, as from before the module."""
    texts = [*(notice(device=f"DEV{number}") for number in range(7)), *[other()] * 3]
    rows = [[number - BACKLOG, texts[number % 10]] for number in range(BACKLOG)]
    homeserver.query(
        "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json) "
        "SELECT ?, ?, json_extract(value, '$[0]'), json_extract(value, '$[1]') "
        "FROM json_each(?)",
        (recipient.user_id, recipient.device_id, json.dumps(rows)),
    )


async def _send(person: Client, other: Client, kind: str, content: Any) -> None:
    messages = {other.user_id: {other.device_id: content}}
    assert await person.send_to_device(kind, messages) == 200
