"""What is delivered, what collapses, what supersedes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.messages import (
    OLDER_WITHHELD,
    PLAIN,
    WITHHELD,
    make_key,
    make_message,
)
from tests.harness.databases.mailbox import mailbox, rows_of
from tests.harness.homeservers.stage import Two, log_in, send
from tests.harness.metrics.samples import counted
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

if TYPE_CHECKING:
    from tests.harness.homeservers.homeserver import Homeserver

pytestmark = on_both_databases


@in_reactor
async def test_first_notice_is_delivered_as_it_is(two: Two) -> None:
    """The first notice of a pair is stored, with every key the sender put there."""
    notice = two.notice(unknown={"nested": [1, None, "ü"]})
    async with counted(two.homeserver) as decided:
        await two.send(notice)
    assert two.mailbox() == [two.queued(notice)]
    assert decided == {"deliver": 1}


@in_reactor
async def test_repeated_notice_collapses(two: Two) -> None:
    """Of a notice that is repeated, the first stays and nothing else is stored."""
    await two.send(two.notice())
    first = rows_of(two.homeserver, two.recipient)
    async with counted(two.homeserver) as decided:
        for _ in range(5):
            await two.send(two.notice())
        assert len(first) == 1
        assert rows_of(two.homeserver, two.recipient) == first
    assert decided == {"collapse": 5}


@pytest.mark.parametrize("key", ["reason", "org.matrix.msgid"])
@in_reactor
async def test_copies_that_differ_in_what_says_nothing_collapse(
    two: Two, key: str
) -> None:
    """The reason and the message ID differ from copy to copy; the first stays."""
    first = two.notice(**{key: "first"})
    await two.send(first)
    async with counted(two.homeserver) as decided:
        await two.send(two.notice(**{key: "second"}))
        assert two.mailbox() == [two.queued(first)]
    assert decided == {"collapse": 1}


@in_reactor
async def test_new_sender_key_of_a_device_supersedes(two: Two) -> None:
    """A client that lost its crypto store has a new key; the old one is dead."""
    await two.send(two.notice())
    newest = two.notice(sender_key=make_key("after the store was lost"))
    async with counted(two.homeserver) as decided:
        await two.send(newest)
        await eventually(two.mailbox, [two.queued(newest)])
        await two.send(newest)
    assert decided == {"supersede": 1, "collapse": 1}
    assert two.mailbox() == [two.queued(newest)]


@in_reactor
async def test_notices_of_other_devices_and_keys_do_not_collapse(two: Two) -> None:
    """Another device, and another key where no device is named, is another pair."""
    notices = [
        two.notice(),
        two.notice(from_device="OTHERDEV"),
        two.notice(from_device=None),
        two.notice(from_device=None, sender_key=make_key("another device")),
    ]
    async with counted(two.homeserver) as decided:
        for notice in notices:
            await two.send(notice)
    assert two.mailbox() == [two.queued(notice) for notice in notices]
    assert decided == {"deliver": 4}


@in_reactor
async def test_device_id_that_looks_like_a_key_is_not_one(two: Two) -> None:
    """Finding 7: identities by device and by key are of different kinds."""
    by_key = two.notice(from_device=None)
    by_device = two.notice(from_device=two.sender_key)
    for notice in (by_key, by_device):
        await two.send(notice)
    assert two.mailbox() == [two.queued(by_key), two.queued(by_device)]


@in_reactor
async def test_two_senders_with_one_key_do_not_collapse(
    two: Two, homeserver: Homeserver
) -> None:
    """What one user says never stands for what another says."""
    other = await homeserver.register(f"other-{two.sender.user_id[1:].split(':')[0]}")
    notice = two.notice()
    await two.send(notice)
    async with counted(homeserver) as decided:
        await send(other, two.recipient, notice)
    assert two.mailbox() == [two.queued(notice), make_message(other.user_id, notice)]
    assert decided == {"deliver": 1}


@in_reactor
async def test_stable_and_older_type_are_separate_pairs(two: Two) -> None:
    """Some recipients understand only one of the types; each keeps one notice."""
    types = (WITHHELD, OLDER_WITHHELD, WITHHELD, OLDER_WITHHELD)
    async with counted(two.homeserver) as decided:
        for message_type in types:
            await two.send(two.notice(), message_type)
    assert two.mailbox() == [
        two.queued(two.notice(), WITHHELD),
        two.queued(two.notice(), OLDER_WITHHELD),
    ]
    assert decided == {"deliver": 2, "collapse": 2}


@in_reactor
async def test_other_messages_stay_in_their_order(two: Two) -> None:
    """Around notices that collapse, every other message is stored as it came."""
    expected = []
    for number in range(6):
        await two.send({"number": number}, PLAIN)
        expected.append(two.queued({"number": number}, PLAIN))
        if number == 0:
            expected.append(two.queued(two.notice()))
        await two.send(two.notice())
    assert two.mailbox() == expected


@in_reactor
async def test_devices_of_one_request_are_decided_about_one_by_one(
    two: Two, homeserver: Homeserver
) -> None:
    """Of a request to two devices, only what the second lacks is stored."""
    await two.send(two.notice())
    second = await log_in(two.recipient, "SECOND")
    contents = {
        two.recipient.device_id: two.notice(reason="again"),
        second.device_id: two.notice(reason="new here"),
    }
    async with counted(homeserver) as decided:
        status = await two.sender.send_to_device(
            WITHHELD, {two.recipient.user_id: contents}
        )
    assert status == 200
    assert two.mailbox() == [two.queued(two.notice())]
    assert mailbox(homeserver, second) == [two.queued(contents[second.device_id])]
    assert decided == {"collapse": 1, "deliver": 1}
