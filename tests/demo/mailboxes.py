"""The demonstrations of one server: stock Synapse beside others with the module.

One device is away. Friends have an Olm session with it and send it room keys. Six
others have none, and say so over and over, each as a client of its kind does; one of
these gets a session now and then, and loses it again. Or the user's other devices ask
it for room keys, ask again after each start, and take most requests back in the end.
"""

from __future__ import annotations

import json
import random
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Iterator, Mapping

from vodozemac import GroupSession

from tests.demo.checks import Outcome, as_on_stock, last_of_each_pair
from tests.demo.driving import (
    AWAY,
    FRIEND,
    TABLET,
    Send,
    Stages,
    device_id,
    drive,
)
from tests.demo.output import side_by_side
from tests.harness.messages import (
    ENCRYPTED,
    MEGOLM,
    OLDER_WITHHELD,
    WITHHELD,
    OlmDevice,
    OlmSession,
)
from tests.harness.servers.settings import SERVER_NAME
from tests.model.client import KEY_REQUEST, Client

ROUNDS, NOTICES = 25, 1500

COLLEAGUE = "colleague"
REPEATS = "repeats"  # the same notice again and again
LOSES_KEYS = "loses_keys"  # the same device with a new key, again and again
PER_SESSION = "per_session"  # a notice for each room and session
TO_ALL = "to_all"  # a notice to all devices at once
LEGACY = "legacy"  # numbered notices of both types that do not name their device
REARMED = "rearmed"  # the same notice again and again, and a room key now and then
FRIENDS = (FRIEND, COLLEAGUE)
SENDERS = (*FRIENDS, REPEATS, LOSES_KEYS, PER_SESSION, TO_ALL, LEGACY, REARMED)

KINDS: Mapping[str, Any] = {"stock": None, "with module": {}}

# How many notices a client with a new key sends before it loses that one too.
PER_KEY = 8
# In every how many rounds the one with a session now and then has it.
REARMED_EVERY = 3

ASKERS = ("desktop", "laptop", "phone", "browser")
# Of each asker, how often each is asked for, and of how many one is not taken back: it
# is asked for once more instead.
SESSIONS, TIMES, KEPT_EVERY = 250, 10, 5
ROOM_KEYS = 20

RULED: Mapping[str, Any] = {
    "stock": None,
    "true": {"rules": {"key_requests": True}},
    "vanish": {"rules": {"key_requests": "vanish"}},
}


def _notices(recipient: OlmDevice, rng: random.Random) -> Stages:
    """Make the messages: who sends how many of which, and when, follows from the seed.

    The keys are real, and so they differ each time; their length does not.
    """
    devices = {name: device_of(name) for name in SENDERS}
    sources = [
        repeat(Send(REPEATS, WITHHELD, {AWAY: devices[REPEATS].notice()})),
        _loses_keys(),
        _per_session(devices[PER_SESSION], rng),
        repeat(Send(TO_ALL, WITHHELD, {"*": devices[TO_ALL].notice()})),
        _legacy(devices[LEGACY], rng),
        repeat(Send(REARMED, WITHHELD, {AWAY: devices[REARMED].notice()})),
    ]
    sessions = [devices[name].establish(recipient) for name in (*FRIENDS, REARMED)]
    stages = []
    for number in range(1, ROUNDS + 1):
        # Each round's share of all notices, split unevenly, with one of each at least.
        share = NOTICES * number // ROUNDS - NOTICES * (number - 1) // ROUNDS
        cuts = sorted(rng.sample(range(1, share), len(sources) - 1))
        counts = [end - start for start, end in zip([0, *cuts], [*cuts, share])]
        stages.append([[*islice(*each)] for each in zip(sources, counts)])
        # The next notice of the one with a session is news; the storm of others is not.
        having = sessions if number % REARMED_EVERY == 0 else sessions[: len(FRIENDS)]
        stages.append([[room_key(each, rng) for each in having]])
    return stages


def device_of(name: str) -> OlmDevice:
    return OlmDevice(f"@{name}:{SERVER_NAME}", device_id(name))


def _loses_keys() -> Iterator[Send]:
    while True:
        # A lost crypto store is a new account on the same device.
        notice = device_of(LOSES_KEYS).notice()
        yield from repeat(Send(LOSES_KEYS, WITHHELD, {AWAY: notice}), PER_KEY)


def _per_session(device: OlmDevice, rng: random.Random) -> Iterator[Send]:
    while True:
        scope = {"room_id": _room(rng), "session_id": GroupSession().session_id}
        yield Send(PER_SESSION, WITHHELD, {AWAY: device.notice(**scope)})


def _legacy(device: OlmDevice, rng: random.Random) -> Iterator[Send]:
    while True:
        # Some versions of the older matrix-js-sdk send both types.
        for message_type in (WITHHELD, OLDER_WITHHELD):
            msgid = f"{rng.getrandbits(128):032x}"
            notice = device.notice(from_device=None, **{"org.matrix.msgid": msgid})
            yield Send(LEGACY, message_type, {AWAY: notice})


def room_key(session: OlmSession, rng: random.Random) -> Send:
    megolm = GroupSession()
    payload = {
        "type": "m.room_key",
        "content": {
            "algorithm": MEGOLM,
            "room_id": _room(rng),
            "session_id": megolm.session_id,
            "session_key": megolm.session_key.to_base64(),
        },
        "sender": session.sender.user_id,
        "recipient": session.recipient.user_id,
    }
    sender = session.sender.user_id[1:].partition(":")[0]
    return Send(sender, ENCRYPTED, {AWAY: session.encrypt(json.dumps(payload))})


def _room(rng: random.Random) -> str:
    return f"!room{rng.randrange(12):02}:{SERVER_NAME}"


async def compare_notices(directory: Path) -> Outcome:
    own = {TABLET: TABLET}
    found = await drive(directory, KINDS, _notices, users=SENDERS, own=own)
    return side_by_side({name: each.told() for name, each in found.items()}), {
        **last_of_each_pair(found, tidied=["with module"]),
        **as_on_stock(found, {"stock": 0, "with module": 1}),
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


def _requests(recipient: OlmDevice, rng: random.Random) -> Stages:
    session = device_of(FRIEND).establish(recipient)
    room_keys = [room_key(session, rng) for _ in range(ROOM_KEYS)]
    return [[[*_asked_by(name)] for name in ASKERS], [room_keys]]


async def compare_requests(directory: Path) -> Outcome:
    own = {name: device_id(name) for name in ASKERS}
    found = await drive(directory, RULED, _requests, users=[FRIEND], own=own)
    asked = []
    for cast in found.values():
        client = Client()
        client.give(cast.synced)
        asked.append(client.asked)
    trouble = [each for each in asked if each != asked[0]]
    return side_by_side({name: each.told() for name, each in found.items()}), {
        "in the end the device is asked for the same as on stock": trouble,
        **as_on_stock(found, {"stock": 0, "true": 1, "vanish": 1}, [KEY_REQUEST]),
    }
