"""Traffic recorded from real clients, sent again through a real Synapse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import make_message
from tests.harness.databases.mailbox import mailbox
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import new_name, send
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

SAMPLES = Path(__file__).parent.parent / "samples" / "no_olm.jsonl"


@attrs.frozen
class Recording:
    """What one client was recorded to send, in order, and what is to stay of it.

    Attributes:
        stays: The beginnings of the situations whose notice is the last one of
            its pair, or the first of several with one key.
    """

    client: str
    sent: int
    stays: list[str]


RECORDINGS = [
    # E1, E2: the device of A and E0 with a new key each time. I2: the key of I1.
    Recording(
        "matrix-js-sdk 43.0.0, crypto-wasm",
        sent=11,
        stays=["E2", "F0", "F1", "F2", "G", "H1", "I1"],
    ),
    # Also H2: the key of H1.
    Recording(
        "matrix-js-sdk 43.0.0, server r",
        sent=12,
        stays=["E2", "F0", "F1", "F2", "G", "H1", "I1"],
    ),
    # Names no device: each key is a pair of its own.
    Recording("matrix-js-sdk 34.13.0, libolm", sent=2, stays=["A", "G"]),
]


def read_samples(client: str) -> list[dict[str, Any]]:
    """Return what a client was recorded to send, in order."""
    lines = map(json.loads, SAMPLES.read_text().splitlines())
    return [line for line in lines if line["client"].startswith(client)]


def test_recordings_are_all_of_the_samples() -> None:
    """Every line of the samples is in exactly one recording."""
    lines = [json.loads(line) for line in SAMPLES.read_text().splitlines()]
    covered = [line for each in RECORDINGS for line in read_samples(each.client)]
    assert [len(read_samples(each.client)) for each in RECORDINGS] == [
        each.sent for each in RECORDINGS
    ]
    assert covered == lines


async def replay(
    homeserver: Homeserver, recording: Recording
) -> tuple[Client, Client, list[dict[str, Any]]]:
    """Send a recording; return sender, recipient and what is to stay of it."""
    sender = await homeserver.register(new_name("recorded"))
    recipient = await homeserver.register(new_name("away"))
    samples = read_samples(recording.client)
    for sample in samples:
        message = sample["message"]
        await send(sender, recipient, message["content"], message["type"])
    stays = [
        make_message(sender.user_id, sample["message"]["content"])
        for sample in samples
        if sample["situation"].partition(" ")[0].rstrip(".") in recording.stays
    ]
    assert len(stays) == len(recording.stays)
    return sender, recipient, stays


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda each: each.client)
@in_reactor
async def test_recorded_notices_collapse_and_supersede(
    homeserver: Homeserver, recording: Recording
) -> None:
    """One notice of each pair stays: the first with its newest key."""
    async with counted(homeserver) as decided:
        _, recipient, stays = await replay(homeserver, recording)
        await eventually(lambda: mailbox(homeserver, recipient), stays)
    assert decided.get("deliver") == len(stays)
    assert sum(decided.values()) == recording.sent


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda each: each.client)
@in_reactor
async def test_copies_of_recorded_notices_collapse(
    homeserver: Homeserver, recording: Recording
) -> None:
    """A copy with another reason and another message ID says nothing new."""
    sender, recipient, stays = await replay(homeserver, recording)
    await eventually(lambda: mailbox(homeserver, recipient), stays)
    async with counted(homeserver) as decided:
        for number, message in enumerate(stays):
            copy = {
                **message["content"],
                "reason": f"said again {number}",
                "org.matrix.msgid": f"copy-{number}",
            }
            await send(sender, recipient, copy)
        assert mailbox(homeserver, recipient) == stays
    assert decided == {"collapse": len(stays)}
