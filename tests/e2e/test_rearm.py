"""Real Olm messages between the two ends of a pair: the next notice is new again."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import ENCRYPTED, MEGOLM, make_message
from tests.harness.clients.olm import OlmDevice
from tests.harness.homeservers.stage import Two, log_in, new_name
from tests.harness.metrics.samples import counted, total
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor

pytestmark = on_both_databases


@attrs.frozen
class Ends:
    """The two ends of a pair with real Olm devices, and people who are none of them."""

    two: Two
    sender: OlmDevice
    recipient: OlmDevice
    third: Client

    async def notify(self, reason: str) -> dict[str, Any]:
        """Send the sender's notice; return it as it is queued."""
        return await self.two.send(self.sender.notice(reason=reason))

    def other_of(self, client: Client) -> OlmDevice:
        """Return another device of a user: no device list changes, without its keys."""
        return OlmDevice(client.user_id, "OTHER")


@async_fixture()
async def ends(two: Two) -> Ends:
    """Give both ends an Olm account."""
    sender, recipient = (
        await two.sender.upload_keys(),
        await two.recipient.upload_keys(),
    )
    await log_in(two.recipient, "OTHER")
    third = await two.homeserver.register(new_name("third"))
    return Ends(two, sender, recipient, third)


def to_recipient(
    ends: Ends, olm: OlmDevice, to: OlmDevice, device_id: str = "AWAY"
) -> tuple[Client, Client, str, dict[str, Any]]:
    """Return what the sender sends, and to which of the recipient's devices."""
    content = olm.establish(to).encrypt("a room key")
    return ends.two.sender, ends.two.recipient, device_id, content


def to_sender(ends: Ends, to: OlmDevice) -> tuple[Client, Client, str, dict[str, Any]]:
    """Return what the recipient sends to the sender's device."""
    content = ends.recipient.establish(to).encrypt("m.dummy")
    return ends.two.recipient, ends.two.sender, "SENDERDEV", content


# Who sends an Olm message to which user's device, and whether that re-arms.
CASES = {
    "a session was established": (
        lambda ends: to_recipient(ends, ends.sender, ends.recipient),
        True,
    ),
    "to all devices": (
        lambda ends: to_recipient(ends, ends.sender, ends.recipient, "*"),
        True,
    ),
    # The answer to a notice, as the specification has it.
    "back to the sender": (lambda ends: to_sender(ends, ends.sender), True),
    # Wider than needed: it costs one look-up and a write, never a second copy.
    "back to another device of the sender": (
        lambda ends: to_sender(ends, ends.other_of(ends.two.sender)),
        True,
    ),
    # It says nothing about this one.
    "to another device of the recipient": (
        lambda ends: to_recipient(
            ends, ends.sender, ends.other_of(ends.two.recipient), "OTHER"
        ),
        False,
    ),
    "of another device's key": (
        lambda ends: to_recipient(ends, ends.other_of(ends.two.sender), ends.recipient),
        False,
    ),
    # Whatever keys they name.
    "of somebody else to the recipient": (
        lambda ends: (ends.third, *to_recipient(ends, ends.sender, ends.recipient)[1:]),
        False,
    ),
    "of somebody else to the sender": (
        lambda ends: (ends.third, *to_sender(ends, ends.sender)[1:]),
        False,
    ),
}


@pytest.mark.parametrize(("message", "rearms"), CASES.values(), ids=CASES)
@in_reactor
async def test_which_olm_messages_rearm(ends: Ends, message: Any, rearms: bool) -> None:
    """The next notice is delivered and is the only one at the end, or collapses."""
    first = await ends.notify("first")
    before = await rearmed(ends)
    author, to, device_id, content = message(ends)
    contents = {to.user_id: {device_id: content}}
    assert await author.send_to_device(ENCRYPTED, contents) == 200
    direction = "to_recipient" if to is ends.two.recipient else "to_sender"
    assert await rearmed(ends) == {
        each: number + (rearms and each == direction) for each, number in before.items()
    }
    others = [each for each in ends.two.mailbox() if each["type"] == ENCRYPTED]
    async with counted(ends.two.homeserver) as decided:
        following = await ends.notify("next")
        left = [*others, following] if rearms else [first, *others]
        await eventually(ends.two.mailbox, left)
        await ends.notify("once more")
        assert ends.two.mailbox() == left
    assert others == (
        [make_message(author.user_id, content, ENCRYPTED)]
        if to is ends.two.recipient and device_id != "OTHER"
        else []
    )
    assert decided == ({"supersede": 1, "collapse": 1} if rearms else {"collapse": 2})


async def rearmed(ends: Ends) -> dict[str, int]:
    """Return how many pairs were re-armed, by direction."""
    metrics = await ends.two.homeserver.metrics()
    name = "synapse_withheld_rearmed_total"
    return {
        direction: int(total(metrics, name, direction=direction))
        for direction in ("to_recipient", "to_sender")
    }


@in_reactor
async def test_messages_encrypted_otherwise_do_not_rearm(ends: Ends) -> None:
    """Only algorithms of Olm are Olm messages."""
    first = await ends.notify("first")
    content = ends.sender.establish(ends.recipient).encrypt("a room key")
    other = await ends.two.send({**content, "algorithm": MEGOLM}, ENCRYPTED)
    await ends.notify("next")
    assert ends.two.mailbox() == [first, other]


@in_reactor
async def test_any_number_of_rounds_leaves_one_notice(ends: Ends) -> None:
    """However often a pair is re-armed, the mailbox holds one notice of it."""
    session = ends.sender.establish(ends.recipient)
    encrypted = []
    for number in range(6):
        content = session.encrypt(f"room key {number}")
        encrypted.append(await ends.two.send(content, ENCRYPTED))
        newest = await ends.notify(f"after {number}")
        await ends.notify("once more")
    await eventually(ends.two.mailbox, [*encrypted, newest])
