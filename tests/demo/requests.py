"""The demonstration of requests: what a device asks for, and takes back later.

One device of a user is away. The user's others ask it for room keys, ask again after
each start, and take most requests back once they have the keys from elsewhere. A friend
sends it room keys of its own, which wait behind all that.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Iterable, Iterator

import attrs

from tests.demo import checks
from tests.demo.checks import Check
from tests.demo.demonstration import (
    Outcome,
    as_delivered,
    measure_both,
    two_homeservers,
)
from tests.demo.driving import Cast, send_all
from tests.demo.measuring import (
    TIDY_WITHIN_S,
    Measured,
)
from tests.demo.output.progress import Progress
from tests.demo.output.table import make_rows, render
from tests.demo.traffic import (
    AWAY,
    FRIEND,
    RECIPIENT,
    SEED,
    Send,
    device_id,
    room_key,
    user_id,
)
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import MEGOLM
from tests.harness.clients.olm import OlmDevice
from tests.harness.databases.mailbox import rows_of
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.polling import become
from tests.harness.together import together

KEY_REQUEST = "m.room_key_request"
RULES = {"rules": {"key_requests": True}}

ASKERS = ("desktop", "laptop", "phone", "browser")
# Of each asker; every one of them is asked for several times.
SESSIONS = 625
TIMES = 4
# Of so many, one is never taken back: it is asked for once more instead.
KEPT_EVERY = 5
ROOM_KEYS = 20


@attrs.frozen
class Plan:
    """What is sent: the requests of each device, then the room keys."""

    lanes: tuple[tuple[Send, ...], ...]
    room_keys: tuple[Send, ...]
    recipient: OlmDevice

    @property
    def count(self) -> int:
        """Return how many messages there are."""
        return sum(map(len, self.lanes)) + len(self.room_keys)


def make_plan(sessions: int = SESSIONS) -> Plan:
    """Make the messages; the keys differ each time.

    Args:
        sessions: How many sessions each device asks for.
    """
    chance = random.Random(SEED)  # noqa: S311 variety, not secrecy
    recipient = OlmDevice(user_id(RECIPIENT, SERVER_NAME), AWAY)
    friend = OlmDevice(user_id(FRIEND, SERVER_NAME), device_id(FRIEND))
    session = friend.establish(recipient)
    return Plan(
        tuple(tuple(_asked_by(name, sessions)) for name in ASKERS),
        tuple(room_key(FRIEND, session, chance) for _ in range(ROOM_KEYS)),
        recipient,
    )


def _asked_by(name: str, sessions: int) -> Iterator[Send]:
    """Return what one device asks for, again after each start, and takes back."""
    for time in range(TIMES):
        for number in range(sessions):
            is_last = time == TIMES - 1
            takes_back = is_last and number % KEPT_EVERY != 0
            make = _cancellation if takes_back else _request
            yield Send(name, KEY_REQUEST, AWAY, make(name, number))


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


async def compare_requests(
    directory: Path, progress: Progress, *, markdown: bool, sessions: int = SESSIONS
) -> Outcome:
    """Drive a stock Synapse and one with the rule, and compare what is left."""
    plan = make_plan(sessions)
    async with two_homeservers(directory, RULES) as (stock, module):
        casts = await together(
            *(_register(each, plan.recipient) for each in (stock, module))
        )
        progress.say(f"Sending {plan.count:,} messages to each.")
        progress.total = 2 * plan.count
        failed = await together(*(_play(plan, cast, progress) for cast in casts))
        progress.say("Letting the device that was away catch up on each.")
        await _settle(module, casts[1].away)
        on_stock, on_module = await measure_both((stock, module), casts, failed)
        return Outcome(
            render(make_rows(on_stock, on_module), markdown=markdown),
            check(plan, on_stock, on_module),
            casts[1],
        )


async def _register(homeserver: Homeserver, recipient: OlmDevice) -> Cast:
    away = await homeserver.register(RECIPIENT, device_id=AWAY)
    await away.upload_keys(recipient)
    askers = {
        name: await Client.login(
            homeserver.base_url, away.user_id, device_id=device_id(name)
        )
        for name in ASKERS
    }
    friend = await homeserver.register(FRIEND, device_id=device_id(FRIEND))
    return Cast({**askers, FRIEND: friend}, away, askers[ASKERS[0]])


async def _play(plan: Plan, cast: Cast, progress: Progress) -> int:
    lanes = (send_all(lane, cast, progress.sent) for lane in plan.lanes)
    failed: int = sum(await together(*lanes))
    return failed + await send_all(plan.room_keys, cast, progress.sent)


async def _settle(homeserver: Homeserver, away: Client) -> None:
    """Wait until the module has tidied the mailbox, or should have."""

    def is_tidy() -> bool:
        rows = [json.loads(text) for text in rows_of(homeserver, away)]
        requests = [_id(each) for each in rows if each["type"] == KEY_REQUEST]
        return len(requests) == len(set(requests))

    await become(is_tidy, TIDY_WITHIN_S)


def check(plan: Plan, stock: Measured, module: Measured) -> tuple[Check, ...]:
    """Check all that has to hold."""
    asked = [asked_in_the_end(each.catchup.messages) for each in (stock, module)]
    room_keys = as_delivered(plan.room_keys)
    kept = [_others(each.catchup.messages) for each in (stock, module)]
    return (
        Check(
            "in the end the device is asked for the same as on stock",
            "" if asked[0] == asked[1] else f"{len(asked[0])} and {len(asked[1])}",
        ),
        Check(
            "every room key reached the device as it was sent, in its order",
            "" if kept == [room_keys, room_keys] else "they differ",
        ),
        checks.no_failed_sends({"stock": stock.failed, "module": module.failed}),
        checks.module_acted(module.metrics),
    )


def asked_in_the_end(messages: Iterable[dict[str, Any]]) -> dict[str, Any]:
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


def _others(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] != KEY_REQUEST]
