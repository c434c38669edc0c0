"""Real Olm messages between the two ends of a pair: the next notice is new again."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.client import Client
from tests.harness.messages import ENCRYPTED, OlmDevice, make_message
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import counted
from tests.harness.servers.stage import Two, log_in, new_name
from tests.harness.waiting import eventually


@attrs.frozen
class Ends:
    """The two ends of a pair with real Olm devices, and somebody who is neither."""

    two: Two
    sender: OlmDevice
    recipient: OlmDevice
    third: Client

    async def notify(self, reason: str) -> dict[str, Any]:
        return await self.two.send(self.sender.notice(reason=reason))

    def to_recipient(self, device_id: str = "AWAY") -> tuple[Client, str, Any]:
        content = self.sender.establish(self.recipient).encrypt("a room key")
        return self.two.recipient, device_id, content

    def to_sender(self) -> tuple[Client, str, Any]:
        content = self.recipient.establish(self.sender).encrypt("m.dummy")
        return self.two.sender, "SENDERDEV", content


@async_fixture()
async def ends(two: Two) -> Ends:
    sender = await two.sender.upload_keys()
    recipient = await two.recipient.upload_keys()
    await log_in(two.recipient, "OTHER")
    third = await two.homeserver.register(new_name("third"))
    return Ends(two, sender, recipient, third)


# Who sends an Olm message to which user's device, and whether that re-arms.
CASES = {
    "a session was established": (
        lambda ends: (ends.two.sender, *ends.to_recipient()),
        True,
    ),
    "to all devices": (lambda ends: (ends.two.sender, *ends.to_recipient("*")), True),
    # The answer to a notice, as the specification has it.
    "back to the sender": (lambda ends: (ends.two.recipient, *ends.to_sender()), True),
    # It says nothing about this one.
    "to another device of the recipient": (
        lambda ends: (ends.two.sender, *ends.to_recipient("OTHER")),
        False,
    ),
    # Whatever keys they name.
    "of somebody else to the recipient": (
        lambda ends: (ends.third, *ends.to_recipient()),
        False,
    ),
}


@on_both_databases
@pytest.mark.parametrize(("message", "rearms"), CASES.values(), ids=CASES)
@in_reactor
async def test_which_olm_messages_rearm(ends: Ends, message: Any, rearms: bool) -> None:
    """The next notice is delivered and is the only one at the end, or collapses."""
    two = ends.two
    first = await ends.notify("first")
    author, to, device_id, content = message(ends)
    contents = {to.user_id: {device_id: content}}
    assert await author.send_to_device(ENCRYPTED, contents) == 200
    others = [each for each in two.mailbox() if each["type"] == ENCRYPTED]
    is_for_it = to is two.recipient and device_id != "OTHER"
    queued = make_message(author.user_id, content, ENCRYPTED)
    assert others == ([queued] if is_for_it else [])
    async with counted(two.homeserver) as decided:
        following = await ends.notify("next")
        left = [*others, following] if rearms else [first, *others]
        await eventually(two.mailbox, left)
        await ends.notify("once more")
        assert two.mailbox() == left
    assert decided == ({"supersede": 1, "collapse": 1} if rearms else {"collapse": 2})


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
