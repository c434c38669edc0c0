"""Real Olm messages between the two ends of a pair: the next notice is new again."""

from __future__ import annotations

from typing import Any

import attrs

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.matrix import Client
from tests.harness.clients.messages import ENCRYPTED, make_message
from tests.harness.clients.olm import OlmDevice
from tests.harness.databases.mailbox import mailbox
from tests.harness.homeservers.stage import Two, log_in, send
from tests.harness.metrics.samples import counted, total
from tests.harness.polling import eventually
from tests.harness.reactor import async_fixture, in_reactor

REARMED = "synapse_withheld_rearmed_total"

pytestmark = on_both_databases


@attrs.frozen
class Ends:
    """The two ends of a pair, with real Olm devices."""

    two: Two
    sender: OlmDevice
    recipient: OlmDevice

    def queued(self) -> list[dict[str, Any]]:
        """Return what is queued for the recipient."""
        return mailbox(self.two.homeserver, self.two.recipient)

    def notice(self, reason: str) -> dict[str, Any]:
        """Return the sender's notice as stock Synapse queues it."""
        return make_message(self.two.sender.user_id, self.sender.notice(reason=reason))

    def encrypted(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return an encrypted message as stock Synapse queues it."""
        return make_message(self.two.sender.user_id, content, ENCRYPTED)

    async def notify(self, reason: str) -> None:
        """Send the sender's notice."""
        await self.two.send(self.sender.notice(reason=reason))


@async_fixture()
async def ends(two: Two) -> Ends:
    """Give both ends an Olm account and queue a notice."""
    sender = await two.sender.upload_keys()
    recipient = await two.recipient.upload_keys()
    ends = Ends(two, sender, recipient)
    await ends.notify("first")
    return ends


async def rearmed(ends: Ends) -> dict[str, int]:
    """Return how many pairs were re-armed, by direction."""
    metrics = await ends.two.homeserver.metrics()
    return {
        direction: int(total(metrics, REARMED, direction=direction))
        for direction in ("to_recipient", "to_sender")
    }


async def check_supersedes(ends: Ends, *others: dict[str, Any]) -> None:
    """Send the next notice; it is delivered, and is the only one at the end."""
    async with counted(ends.two.homeserver) as decided:
        await ends.notify("next")
        expected = [*others, ends.notice("next")]
        await eventually(ends.queued, expected)
        await ends.notify("once more")
        assert ends.queued() == expected
    assert decided == {"supersede": 1, "collapse": 1}


async def check_collapses(ends: Ends, *others: dict[str, Any]) -> None:
    """Send the next notice; the queued one says it already."""
    async with counted(ends.two.homeserver) as decided:
        await ends.notify("next")
        assert ends.queued() == [ends.notice("first"), *others]
    assert decided == {"collapse": 1}


@in_reactor
async def test_olm_message_to_the_device_rearms(ends: Ends) -> None:
    """Sender to recipient: a session was established, so a notice is news."""
    before = await rearmed(ends)
    content = ends.sender.establish(ends.recipient).encrypt("a room key")
    await ends.two.send(content, ENCRYPTED)
    assert await rearmed(ends) == {**before, "to_recipient": before["to_recipient"] + 1}
    await check_supersedes(ends, ends.encrypted(content))


@in_reactor
async def test_olm_message_to_all_devices_rearms(ends: Ends) -> None:
    """The device ID `*` stands for every device."""
    content = ends.sender.establish(ends.recipient).encrypt("a room key")
    status = await ends.two.sender.send_to_device(
        ENCRYPTED, {ends.two.recipient.user_id: {"*": content}}
    )
    assert status == 200
    await check_supersedes(ends, ends.encrypted(content))


@in_reactor
async def test_olm_message_to_another_device_does_not_rearm(ends: Ends) -> None:
    """To one device it says nothing about another of the same user."""
    second = await log_in(ends.two.recipient, "SECOND")
    # Which changes no device list: it uploads no keys.
    other = OlmDevice(second.user_id, second.device_id)
    content = ends.sender.establish(other).encrypt("a room key")
    await send(ends.two.sender, second, content, ENCRYPTED)
    await check_collapses(ends)


@in_reactor
async def test_olm_message_of_another_key_does_not_rearm(ends: Ends) -> None:
    """A session of another device of the sender is another session."""
    other = OlmDevice(ends.two.sender.user_id, "OTHERDEV")
    content = other.establish(ends.recipient).encrypt("a room key")
    await ends.two.send(content, ENCRYPTED)
    await check_collapses(ends, ends.encrypted(content))


@in_reactor
async def test_olm_message_to_the_sender_rearms(ends: Ends) -> None:
    """Recipient to sender: the answer to a notice, as the specification has it."""
    before = await rearmed(ends)
    content = ends.recipient.establish(ends.sender).encrypt("m.dummy")
    two = ends.two
    await send(two.recipient, two.sender, content, ENCRYPTED)
    assert await rearmed(ends) == {**before, "to_sender": before["to_sender"] + 1}
    await check_supersedes(ends)


@in_reactor
async def test_olm_message_to_another_device_of_the_sender_rearms(ends: Ends) -> None:
    """Wider than needed, so that it costs one look-up: a write, never a second copy."""
    other = OlmDevice(ends.two.sender.user_id, "OTHERDEV")
    content = ends.recipient.establish(other).encrypt("m.dummy")
    two = ends.two
    await send(two.recipient, two.sender, content, ENCRYPTED)
    await check_supersedes(ends)


@in_reactor
async def test_olm_message_of_a_third_user_does_not_rearm(ends: Ends) -> None:
    """Nobody re-arms other people's pairs, whatever keys they name."""
    third: Client = await ends.two.homeserver.register(
        f"third-{ends.two.sender.user_id[1:].partition(':')[0]}"
    )
    forged = ends.sender.establish(ends.recipient).encrypt("forged")
    await send(third, ends.two.recipient, forged, ENCRYPTED)
    answer = ends.recipient.establish(ends.sender).encrypt("forged")
    await send(third, ends.two.sender, answer, ENCRYPTED)
    await check_collapses(ends, make_message(third.user_id, forged, ENCRYPTED))


@in_reactor
async def test_messages_encrypted_otherwise_do_not_rearm(ends: Ends) -> None:
    """Only algorithms of Olm are Olm messages."""
    content = ends.sender.establish(ends.recipient).encrypt("a room key")
    content["algorithm"] = "m.megolm.v1.aes-sha2"
    await ends.two.send(content, ENCRYPTED)
    await check_collapses(ends, ends.encrypted(content))


@in_reactor
async def test_any_number_of_rounds_leaves_one_notice(ends: Ends) -> None:
    """However often a pair is re-armed, the mailbox holds one notice of it."""
    session = ends.sender.establish(ends.recipient)
    encrypted = []
    for number in range(6):
        content = session.encrypt(f"room key {number}")
        encrypted.append(ends.encrypted(content))
        await ends.two.send(content, ENCRYPTED)
        await ends.notify(f"after {number}")
        await ends.notify("once more")
    await eventually(ends.queued, [*encrypted, ends.notice("after 5")])
