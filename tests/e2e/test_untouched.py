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
GONE = object()

MALFORMED: dict[str, dict[str, Any]] = {
    "algorithm of no megolm": {"algorithm": "m.olm.v1.curve25519-aes-sha2"},
    "no algorithm": {"algorithm": GONE},
    "algorithm of a wrong type": {"algorithm": ["m.megolm.v1.aes-sha2"]},
    "no code": {"code": GONE},
    "code of a wrong type": {"code": {"m.no_olm": True}},
    "no sender_key": {"sender_key": GONE},
    "sender_key of a wrong type": {"sender_key": 1},
    "empty sender_key": {"sender_key": ""},
    "over-long sender_key": {"sender_key": "A" * 65},
    "from_device of a wrong type": {"from_device": ["SENDERDEV"]},
    "over-long from_device": {"from_device": "D" * 256},
}
OTHER_CODES = {
    "m.blacklisted": "m.blacklisted",
    "m.unverified": "m.unverified",
    "m.unauthorised": "m.unauthorised",
    "m.unavailable": "m.unavailable",
    "org.example.mine": "other",
    "m.no_olm ": "other",
}


async def check_untouched(two: Two, content: dict[str, Any], code: str) -> None:
    """Send a message twice; both are stored, counted, and not decided about."""
    before = total(await two.homeserver.metrics(), MESSAGES, code=code, source="local")
    async with counted(two.homeserver) as decided:
        for _ in range(2):
            await two.send(content)
    assert two.mailbox() == [two.queued(content)] * 2
    assert decided == {}
    after = total(await two.homeserver.metrics(), MESSAGES, code=code, source="local")
    assert after - before == 2


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
@in_reactor
async def test_malformed_messages_are_untouched(
    two: Two, change: dict[str, Any]
) -> None:
    """What is not a well-formed notice is never one of a pair."""
    content = {**two.notice(), **change}
    content = {key: value for key, value in content.items() if value is not GONE}
    await check_untouched(two, content, "malformed")


@pytest.mark.parametrize(("code", "counted_as"), OTHER_CODES.items())
@in_reactor
async def test_other_codes_are_untouched(two: Two, code: str, counted_as: str) -> None:
    """Only `m.no_olm` is collapsed."""
    await check_untouched(two, two.notice(code=code), counted_as)


@in_reactor
async def test_notice_to_a_device_that_does_not_exist_is_not_remembered(
    two: Two,
) -> None:
    """Finding 6: it is stored for nobody, so it stands for no later one."""
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
    "poison",
    ["\0", "A\0B", "\ud800", "D" * 100_000],
    ids=["nul", "nul2", "half", "long"],
)
@in_reactor
async def test_poisoned_device_ids_switch_nothing_off(two: Two, poison: str) -> None:
    """Finding 4: what a driver refuses is answered as on stock, and is no failure."""
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
