"""The demonstration of requests: what a device asks for, and takes back later.

One device of a user is away. The user's others ask it for room keys, ask again after
each start, and take most requests back once they have the keys from elsewhere. A friend
sends it room keys of its own, which wait behind all that.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Iterator

from tests.demo.checks import Outcome, as_on_stock
from tests.demo.driving import AWAY, FRIEND, Cast, Send, Stages, device_id, drive
from tests.demo.notices import device_of, room_key
from tests.demo.output import side_by_side
from tests.harness.messages import MEGOLM, OlmDevice
from tests.harness.servers.settings import SERVER_NAME
from tests.model.client import KEY_REQUEST, Client

ASKERS = ("desktop", "laptop", "phone", "browser")

# Of each asker; every one of them is asked for several times.
SESSIONS = 250
TIMES = 10
# Of so many, one is never taken back: it is asked for once more instead.
KEPT_EVERY = 5
ROOM_KEYS = 20

KINDS = {
    "stock": None,
    "true": {"rules": {"key_requests": True}},
    "vanish": {"rules": {"key_requests": "vanish"}},
}


def _asked_by(name: str) -> Iterator[Send]:
    """Return what one device asks for, again after each start, and takes back."""
    for time in range(1, TIMES + 1):
        for number in range(SESSIONS):
            content: dict[str, Any] = {
                "action": "request_cancellation",
                "requesting_device_id": device_id(name),
                "request_id": f"{name}.{number}",
            }
            if time < TIMES or number % KEPT_EVERY == 0:
                key = f"{name}{number:039}"
                content["action"] = "request"
                content["body"] = {
                    "algorithm": MEGOLM,
                    "room_id": f"!room{number % 12:02}:{SERVER_NAME}",
                    "sender_key": key,
                    "session_id": key,
                }
            yield Send(name, KEY_REQUEST, {AWAY: content})


def _make_stages(recipient: OlmDevice, rng: random.Random) -> Stages:
    session = device_of(FRIEND).establish(recipient)
    room_keys = [room_key(session, rng) for _ in range(ROOM_KEYS)]
    return [[[*_asked_by(name)] for name in ASKERS], [room_keys]]


async def compare_requests(directory: Path) -> Outcome:
    """Drive a Synapse of each kind with the same traffic; compare what is left."""
    own = {name: device_id(name) for name in ASKERS}
    found = await drive(directory, KINDS, _make_stages, users=[FRIEND], own=own)
    asked, *others = map(_asked_in_the_end, found.values())
    trouble = [each for each in others if each != asked]
    return side_by_side({name: each.told() for name, each in found.items()}), {
        "in the end the device is asked for the same as on stock": trouble,
        **as_on_stock(found, {"stock": 0, "true": 1, "vanish": 1}, [KEY_REQUEST]),
    }


def _asked_in_the_end(one: Cast) -> object:
    client = Client()
    client.give(one.synced)
    return client.asked
