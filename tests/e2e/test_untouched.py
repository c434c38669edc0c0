"""What is none of the module's business is stored as stock Synapse stores it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.messages import PLAIN, WITHHELD
from tests.harness.databases.mailbox import mailbox, mailbox_of
from tests.harness.homeservers.stage import Two, log_in
from tests.harness.metrics.samples import ACTIVE, counted, failures, total
from tests.harness.reactor import in_reactor

MESSAGES = "synapse_withheld_messages_total"


# What is changed of a notice, and the code that it is counted as.
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algorithm": ["m.megolm.v1.aes-sha2"]}, "malformed"),
        ({"sender_key": "A" * 65}, "malformed"),
        ({"code": "m.unverified"}, "m.unverified"),
        ({"code": "org.example.mine"}, "other"),
    ],
)
@in_reactor
async def test_what_is_no_notice_is_stored_counted_and_not_decided_about(
    two: Two, change: dict[str, Any], code: str
) -> None:
    async def count() -> float:
        metrics = await two.homeserver.metrics()
        return total(metrics, MESSAGES, code=code, source="local")

    before = await count()
    async with counted(two.homeserver) as decided:
        sent = [await two.send(two.notice(**change)) for _ in range(2)]
    assert (two.mailbox(), decided) == (sent, {})
    assert await count() - before == 2


@in_reactor
async def test_notice_to_a_device_that_does_not_exist_is_not_remembered(
    two: Two,
) -> None:
    """It is stored for nobody, so it stands for no later one."""
    contents = {two.recipient.user_id: {"NOT-YET": two.notice()}}
    for _ in range(2):
        assert await two.sender.send_to_device(WITHHELD, contents) == 200
    assert mailbox_of(two.homeserver, two.recipient.user_id, "NOT-YET") == []
    later = await log_in(two.recipient, "NOT-YET")
    async with counted(two.homeserver) as decided:
        assert await two.sender.send_to_device(WITHHELD, contents) == 200
    assert mailbox(two.homeserver, later) == [two.queued(two.notice())]
    assert decided == {"deliver": 1}


@on_both_databases
@pytest.mark.parametrize(
    "poison", ["A\0B", "\ud800", "D" * 100_000], ids=["nul", "half", "long"]
)
@in_reactor
async def test_poisoned_device_ids_switch_nothing_off(two: Two, poison: str) -> None:
    """What a driver refuses is answered as on stock, and is no failure."""
    failed_before = await failures(two.homeserver)
    await two.send(two.notice())
    contents = {two.recipient.user_id: {poison: two.notice()}}
    # A type that no rule names takes Synapse's own path, whatever that answers.
    stock = await two.sender.send_to_device(PLAIN, contents)
    for _ in range(8):
        assert await two.sender.send_to_device(WITHHELD, contents) == stock
    async with counted(two.homeserver) as decided:
        await two.send(two.notice())
    assert decided == {"collapse": 1}
    assert await failures(two.homeserver) == failed_before
    assert total(await two.homeserver.metrics(), ACTIVE) == 1
