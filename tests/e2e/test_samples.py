"""Traffic recorded from real clients, sent again through a real Synapse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness.reactor import in_reactor
from tests.harness.samples import counted
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import two_on
from tests.harness.waiting import eventually

SAMPLES = Path(__file__).parent.parent / "samples" / "no_olm.jsonl"
LINES = [json.loads(line) for line in SAMPLES.read_text().splitlines()]

# By client the situations whose notice stays: the last one of its pair, or the first
# of several with one key.
STAYS = {
    # E1, E2: the device of A and E0 with a new key each time. I2: the key of I1.
    "matrix-js-sdk 43.0.0, crypto-wasm": "E2 F0 F1 F2 G H1 I1",
    # Also H2: the key of H1.
    "matrix-js-sdk 43.0.0, server r": "E2 F0 F1 F2 G H1 I1",
    # Names no device: each key is a pair of its own.
    "matrix-js-sdk 34.13.0, libolm": "A G",
}


@pytest.mark.parametrize("client", STAYS)
@in_reactor
async def test_recorded_notices_collapse_and_supersede(
    homeserver: Homeserver, client: str
) -> None:
    """One notice of each pair stays: the first with its newest key."""
    two, stays = await two_on(homeserver), {}
    samples = [each for each in LINES if each["client"].startswith(client)]
    async with counted(homeserver) as decided:
        for sample in samples:
            message = sample["message"]
            situation = sample["situation"].partition(" ")[0].rstrip(".")
            queued = await two.send(message["content"], message["type"])
            if situation in STAYS[client].split():
                stays[situation] = queued
        await eventually(two.mailbox, [*stays.values()])
    assert " ".join(stays) == STAYS[client]
    assert all(each["client"].startswith(tuple(STAYS)) for each in LINES)
    assert decided.get("deliver") == len(stays)
    assert sum(decided.values()) == len(samples)
