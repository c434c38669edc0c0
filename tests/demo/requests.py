"""The demonstration of requests: what a device asks for, and takes back later.

One device of a user is away. The user's others ask it for room keys, ask again after
each start, and take most requests back once they have the keys from elsewhere. A friend
sends it room keys of its own, which wait behind all that.
"""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Iterable, Iterator, Sequence

from tests.demo.checks import Check, Outcome, as_on_stock
from tests.demo.driving import IsTidy, drive
from tests.demo.notices import told
from tests.demo.output import Progress, side_by_side
from tests.demo.traffic import (
    AWAY,
    FRIEND,
    RECIPIENT,
    SEED,
    Send,
    Traffic,
    device_id,
    room_key,
    user_id,
)
from tests.harness.messages import MEGOLM, OlmDevice
from tests.harness.servers.homeserver import Homeserver, running
from tests.harness.servers.settings import SERVER_NAME

KEY_REQUEST = "m.room_key_request"
ASKERS = ("desktop", "laptop", "phone", "browser")

# Of each asker; every one of them is asked for several times.
SESSIONS = 250
TIMES = 10
# Of so many, one is never taken back: it is asked for once more instead.
KEPT_EVERY = 5
ROOM_KEYS = 20


def make_requests() -> Traffic:
    """Make the messages: each device asks for so many sessions; then room keys."""
    rng = random.Random(SEED)  # noqa: S311 variety, not secrecy
    recipient = OlmDevice(user_id(RECIPIENT), AWAY)
    session = OlmDevice(user_id(FRIEND), device_id(FRIEND)).establish(recipient)
    lanes = [[*_asked_by(name)] for name in ASKERS]
    room_keys = [room_key(FRIEND, session, rng) for _ in range(ROOM_KEYS)]
    return Traffic([lanes, [room_keys]], recipient)


def _asked_by(name: str) -> Iterator[Send]:
    """Return what one device asks for, again after each start, and takes back."""
    for time in range(TIMES):
        for number in range(SESSIONS):
            is_last = time == TIMES - 1
            takes_back = is_last and number % KEPT_EVERY != 0
            make = _cancellation if takes_back else _request
            yield Send(name, KEY_REQUEST, {AWAY: make(name, number)})


def _request(name: str, number: int) -> dict[str, Any]:
    body = {
        "algorithm": MEGOLM,
        "room_id": f"!room{number % 12:02}:{SERVER_NAME}",
        "sender_key": f"{name}{number:039}",
        "session_id": f"{name}{number:039}",
    }
    return {**_cancellation(name, number), "action": "request", "body": body}


def _cancellation(name: str, number: int) -> dict[str, Any]:
    return {
        "action": "request_cancellation",
        "requesting_device_id": device_id(name),
        "request_id": f"{name}.{number}",
    }


def _is_tidy(rows: Sequence[str]) -> bool:
    """Say whether one message is left of each request."""
    ids = [_id(each) for each in map(json.loads, rows) if each["type"] == KEY_REQUEST]
    return len(ids) == len(set(ids))


def _has_vanished(rows: Sequence[str]) -> bool:
    return not any("request_cancellation" in text for text in rows)


# By the name of its column: the module's configuration, and when its work is done.
KINDS: dict[str, tuple[dict[str, Any] | None, IsTidy]] = {
    "stock": (None, lambda _: True),
    "true": ({"rules": {"key_requests": True}}, _is_tidy),
    "vanish": ({"rules": {"key_requests": "vanish"}}, _has_vanished),
}


@asynccontextmanager
async def compare_requests(
    directory: Path, progress: Progress
) -> AsyncIterator[Outcome]:
    """Drive a stock Synapse and two with the rule, and compare what is left."""
    progress.say("Starting a stock Synapse and two with the module.")
    traffic, own = make_requests(), {name: device_id(name) for name in ASKERS}
    homeservers = {
        Homeserver(directory / name, module=module): is_tidy
        for name, (module, is_tidy) in KINDS.items()
    }
    async with running(*homeservers):
        casts, found = await drive(
            homeservers, traffic, progress, users=[FRIEND], own=own
        )
        measured = dict(zip(KINDS, found))
        asked, *others = [_asked_in_the_end(each.synced) for each in found]
        wrong = [len(each) for each in others if each != asked]
        yield Outcome(
            side_by_side({name: told(each) for name, each in measured.items()}),
            [
                Check(
                    "in the end the device is asked for the same as on stock",
                    f"{len(asked)} and {wrong}" if wrong else "",
                ),
                *as_on_stock(
                    measured, {"stock": 0, "true": 1, "vanish": 1}, [KEY_REQUEST]
                ),
            ],
            casts,
        )


def _asked_in_the_end(messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what a client is asked for that read messages, by request."""
    asked: dict[str, Any] = {}
    for message in messages:
        if message["type"] != KEY_REQUEST:
            continue
        if message["content"]["action"] == "request":
            asked[_id(message)] = message["content"]["body"]
        else:
            asked.pop(_id(message), None)
    return asked


def _id(message: dict[str, Any]) -> str:
    content = message["content"]
    return f"{content['requesting_device_id']} {content['request_id']}"
