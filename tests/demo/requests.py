"""The demonstration of requests: what a device asks for, and takes back later.

One device of a user is away. The user's others ask it for room keys, ask again after
each start, and take most requests back once they have the keys from elsewhere. A friend
sends it room keys of its own, which wait behind all that.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Iterable, Iterator, Sequence

from tests.demo.checks import Check, Outcome, as_on_stock
from tests.demo.driving import (
    AWAY,
    FRIEND,
    RECIPIENT,
    STOCK,
    Kind,
    Send,
    device_id,
    drive,
)
from tests.demo.notices import SEED, device_of, room_key, told
from tests.demo.output import side_by_side
from tests.harness.messages import MEGOLM, OlmDevice
from tests.harness.servers.settings import SERVER_NAME

KEY_REQUEST = "m.room_key_request"
ASKERS = ("desktop", "laptop", "phone", "browser")

# Of each asker; every one of them is asked for several times.
SESSIONS = 250
TIMES = 10
# Of so many, one is never taken back: it is asked for once more instead.
KEPT_EVERY = 5
ROOM_KEYS = 20


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


def _is_tidy(rows: Sequence[str]) -> bool:
    """Say whether one message is left of each request."""
    ids = [_id(each) for each in map(json.loads, rows) if each["type"] == KEY_REQUEST]
    return len(ids) == len(set(ids))


def _has_vanished(rows: Sequence[str]) -> bool:
    return not any("request_cancellation" in text for text in rows)


KINDS: dict[str, Kind] = {
    "stock": STOCK,
    "true": ({"rules": {"key_requests": True}}, _is_tidy),
    "vanish": ({"rules": {"key_requests": "vanish"}}, _has_vanished),
}


async def compare_requests(directory: Path) -> Outcome:
    """Drive a Synapse of each kind with the same traffic; compare what is left."""
    rng = random.Random(SEED)  # noqa: S311 variety, not secrecy
    recipient = OlmDevice(f"@{RECIPIENT}:{SERVER_NAME}", AWAY)
    session = device_of(FRIEND).establish(recipient)
    room_keys = [room_key(session, rng) for _ in range(ROOM_KEYS)]
    stages = [[[*_asked_by(name)] for name in ASKERS], [room_keys]]
    own = {name: device_id(name) for name in ASKERS}
    found = await drive(directory, KINDS, stages, recipient, users=[FRIEND], own=own)
    asked, *others = [_asked_in_the_end(each.synced) for each in found.values()]
    acting = {"stock": 0, "true": 1, "vanish": 1}
    return Outcome(
        side_by_side({name: told(each) for name, each in found.items()}),
        [
            Check(
                "in the end the device is asked for the same as on stock",
                [each for each in others if each != asked],
            ),
            *as_on_stock(found, acting, [KEY_REQUEST]),
        ],
    )


def _asked_in_the_end(messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what a client is asked for that read messages, by request."""
    asked: dict[str, Any] = {}
    for message in messages:
        if message["type"] == KEY_REQUEST:
            asked.pop(_id(message), None)
            if message["content"]["action"] == "request":
                asked[_id(message)] = message["content"]["body"]
    return asked


def _id(message: dict[str, Any]) -> str:
    content = message["content"]
    return f"{content['requesting_device_id']} {content['request_id']}"
