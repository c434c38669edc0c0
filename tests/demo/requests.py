"""The demonstration of requests: what a device asks for, and takes back later.

One device of a user is away. The user's others ask it for room keys, ask again after
each start, and take most requests back once they have the keys from elsewhere. A friend
sends it room keys of its own, which wait behind all that.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping

import attrs

from tests.demo import checks
from tests.demo.checks import Check
from tests.demo.demonstration import Outcome, as_delivered, measure_each
from tests.demo.driving import Cast, send_all
from tests.demo.measuring import TIDY_WITHIN_S, Measured
from tests.demo.output.progress import Progress
from tests.demo.output.table import NOTHING, aligned, make_rows
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
from tests.harness.homeservers.homeserver import Homeserver, running
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.polling import become
from tests.harness.together import together

KEY_REQUEST = "m.room_key_request"
# By the name of its column: the configuration of the module on each Synapse.
MODULES: dict[str, dict[str, Any] | None] = {
    "stock": None,
    "true": {"rules": {"key_requests": True}},
    "vanish": {"rules": {"key_requests": "vanish"}},
}

ASKERS = ("desktop", "laptop", "phone", "browser")
# Messages in a mailbox.
Requests = List[Dict[str, Any]]

# Of each asker; every one of them is asked for several times.
SESSIONS = 250
TIMES = 10
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
    """Make the messages: each device asks for so many sessions."""
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
    """Drive a stock Synapse and two with the rule, and compare what is left."""
    progress.say("Starting a stock Synapse and two with the module.")
    plan = make_plan(sessions)
    homeservers = [
        Homeserver(directory / name, module=module) for name, module in MODULES.items()
    ]
    async with running(*homeservers):
        casts = await together(
            *(_register(each, plan.recipient) for each in homeservers)
        )
        progress.say(f"Sending {plan.count:,} messages to each.")
        progress.total = len(homeservers) * plan.count
        failed = await together(*(_play(plan, cast, progress) for cast in casts))
        progress.say("Letting the device that was away catch up on each.")
        _, cancelled, vanished = homeservers
        await _settle(cancelled, casts[1].away, _is_tidy)
        await _settle(vanished, casts[2].away, _has_vanished)
        measured = await measure_each(homeservers, casts, failed)
        return Outcome(
            aligned(_table(*measured), markdown=markdown),
            check(plan, dict(zip(MODULES, measured))),
        )


def _table(stock: Measured, *modules: Measured) -> list[tuple[str, ...]]:
    """Put what was measured side by side, stock first."""
    rows: dict[str, list[str]] = {}
    for number, module in enumerate(modules, start=1):
        for label, on_stock, with_module in make_rows(stock, module):
            row = rows.setdefault(label, [on_stock, *[NOTHING] * len(modules)])
            row[number] = with_module
    return [("", *MODULES), *((label, *row) for label, row in rows.items())]


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


async def _settle(
    homeserver: Homeserver, away: Client, is_tidy: Callable[[Requests], bool]
) -> None:
    """Wait until the module has tidied the mailbox, or should have."""

    def is_done() -> bool:
        rows = [json.loads(text) for text in rows_of(homeserver, away)]
        return is_tidy([each for each in rows if each["type"] == KEY_REQUEST])

    await become(is_done, TIDY_WITHIN_S)


def _is_tidy(requests: Requests) -> bool:
    """Say whether one message is left of each request."""
    return len(requests) == len(set(map(_id, requests)))


def _has_vanished(requests: Requests) -> bool:
    """Say whether no cancellation is left."""
    return all(each["content"]["action"] == "request" for each in requests)


def check(plan: Plan, measured: Mapping[str, Measured]) -> tuple[Check, ...]:
    """Check all that has to hold."""
    stock, *modules = measured.values()
    asked, *others = (
        asked_in_the_end(each.catchup.messages) for each in (stock, *modules)
    )
    room_keys = as_delivered(plan.room_keys)
    kept = [_others(each.catchup.messages) for each in (stock, *modules)]
    wrong = [len(each) for each in others if each != asked]
    return (
        Check(
            "in the end the device is asked for the same as on stock",
            f"{len(asked)} and {wrong}" if wrong else "",
        ),
        Check(
            "every room key reached the device as it was sent, in its order",
            "" if all(each == room_keys for each in kept) else "they differ",
        ),
        checks.no_failed_sends({name: each.failed for name, each in measured.items()}),
        *(checks.module_acted(module.metrics) for module in modules),
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
