"""Traffic recorded from real clients, sent again through a real Synapse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import two_on
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
    lines = map(json.loads, SAMPLES.read_text().splitlines())
    return [line for line in lines if line["client"].startswith(client)]


def test_recordings_are_all_of_the_samples() -> None:
    lines = [json.loads(line) for line in SAMPLES.read_text().splitlines()]
    assert [line for each in RECORDINGS for line in read_samples(each.client)] == lines


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda each: each.client)
@in_reactor
async def test_recorded_notices_collapse_and_supersede(
    homeserver: Homeserver, recording: Recording
) -> None:
    """One notice of each pair stays: the first with its newest key."""
    two, stays = await two_on(homeserver), []
    samples = read_samples(recording.client)
    async with counted(homeserver) as decided:
        for sample in samples:
            message = sample["message"]
            queued = await two.send(message["content"], message["type"])
            if sample["situation"].partition(" ")[0].rstrip(".") in recording.stays:
                stays.append(queued)
        await eventually(two.mailbox, stays)
    assert len(stays) == len(recording.stays)
    assert decided.get("deliver") == len(stays)
    assert (sum(decided.values()), len(samples)) == (recording.sent, recording.sent)
