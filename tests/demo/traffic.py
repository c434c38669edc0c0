"""What is sent in the demonstration: the same messages for every homeserver.

One device is away. Two friends have an Olm session with it and send it room keys.
Six others have none, and say so over and over, each as a client of its kind does;
one of these gets a session now and then, and loses it again.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import Any, Iterator, Mapping, Sequence

import attrs
from vodozemac import GroupSession

from tests.harness.messages import (
    ENCRYPTED,
    MEGOLM,
    OLDER_WITHHELD,
    WITHHELD,
    OlmDevice,
    OlmSession,
)
from tests.harness.servers.settings import SERVER_NAME

SEED = 20
ROUNDS = 25
NOTICES = 1500

RECIPIENT = "recipient"
AWAY = "AWAY"
TABLET = "TABLET"

FRIEND = "friend"
COLLEAGUE = "colleague"
REPEATS = "repeats"  # the same notice again and again
LOSES_KEYS = "loses_keys"  # the same device with a new key, again and again
PER_SESSION = "per_session"  # a notice for each room and session
TO_ALL = "to_all"  # a notice to all devices at once
LEGACY = "legacy"  # numbered notices of both types that do not name their device
REARMED = "rearmed"  # the same notice again and again, and a room key now and then
FRIENDS = (FRIEND, COLLEAGUE)
SENDERS = (*FRIENDS, REPEATS, LOSES_KEYS, PER_SESSION, TO_ALL, LEGACY, REARMED)

# How many notices a client with a new key sends before it loses that one too.
PER_KEY = 8
ROOMS = 12
# In every how many rounds the one with a session now and then has it.
REARMED_EVERY = 3


@attrs.frozen
class Send:
    """One request: a message to each of some devices of a user; `*` are all of them."""

    sender: str
    message_type: str
    messages: Mapping[str, dict[str, Any]]
    to: str = RECIPIENT


@attrs.frozen
class Traffic:
    """All that is sent.

    Attributes:
        stages: One after the other. The lanes of one are sent at the same time, the
            requests of a lane in order.
        recipient: The device that is away.
    """

    stages: Sequence[Sequence[Sequence[Send]]]
    recipient: OlmDevice

    @property
    def sends(self) -> list[Send]:
        return [send for stage in self.stages for lane in stage for send in lane]

    @property
    def room_keys(self) -> list[Send]:
        return [send for send in self.sends if send.message_type == ENCRYPTED]


def user_id(localpart: str) -> str:
    return f"@{localpart}:{SERVER_NAME}"


def device_id(localpart: str) -> str:
    return f"{localpart.upper().replace('_', '')}DEV"


def make_traffic() -> Traffic:
    """Make the messages.

    Who sends how many of which, and when, follows from the seed. The keys are real,
    and so they differ each time; their length does not.
    """
    rng = random.Random(SEED)  # noqa: S311 variety, not secrecy
    devices = {name: OlmDevice(user_id(name), device_id(name)) for name in SENDERS}
    recipient = OlmDevice(user_id(RECIPIENT), AWAY)
    sources = _sources(devices, rng)
    sessions = {
        name: devices[name].establish(recipient) for name in (*FRIENDS, REARMED)
    }
    stages: list[list[list[Send]]] = []
    # Each round's share of all notices; the shares add up.
    ends = [NOTICES * number // ROUNDS for number in range(ROUNDS + 1)]
    for number in range(ROUNDS):
        counts = _share(ends[number + 1] - ends[number], len(sources), rng)
        stages.append(
            [
                [*itertools.islice(source, count)]
                for source, count in zip(sources, counts)
            ]
        )
        # Its next notice is news; the storm of the others is not.
        has_session = number % REARMED_EVERY == REARMED_EVERY - 1
        senders = (*FRIENDS, REARMED) if has_session else FRIENDS
        stages.append([[room_key(name, sessions[name], rng) for name in senders]])
    return Traffic(stages, recipient)


def _share(total: int, senders: int, rng: random.Random) -> tuple[int, ...]:
    """Split a number among senders, unevenly, with at least one each."""
    cuts = sorted(rng.sample(range(1, total), senders - 1))
    return tuple(end - start for start, end in zip([0, *cuts], [*cuts, total]))


def _sources(
    devices: Mapping[str, OlmDevice], rng: random.Random
) -> list[Iterator[Send]]:
    def repeated(name: str, to: str = AWAY) -> Iterator[Send]:
        return itertools.repeat(Send(name, WITHHELD, {to: devices[name].notice()}))

    return [
        repeated(REPEATS),
        _loses_keys(devices[LOSES_KEYS]),
        _per_session(devices[PER_SESSION], rng),
        repeated(TO_ALL, "*"),
        _legacy(devices[LEGACY], rng),
        repeated(REARMED),
    ]


def _loses_keys(device: OlmDevice) -> Iterator[Send]:
    while True:
        # A lost crypto store is a new account on the same device.
        notice = OlmDevice(device.user_id, device.device_id).notice()
        for _ in range(PER_KEY):
            yield Send(LOSES_KEYS, WITHHELD, {AWAY: notice})


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


def room_key(sender: str, session: OlmSession, rng: random.Random) -> Send:
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
    return Send(sender, ENCRYPTED, {AWAY: session.encrypt(json.dumps(payload))})


def _room(rng: random.Random) -> str:
    return f"!room{rng.randrange(ROOMS):02}:{SERVER_NAME}"
