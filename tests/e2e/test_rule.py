"""What stays of what is sent to a device, and when it may be repeated."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Sequence, Tuple

import attrs
import pytest
from packaging.version import Version
from pytest_twisted import async_yield_fixture

from tests.e2e.conftest import SWITCHED, on_both_databases
from tests.harness.client import DEHYDRATED, Messages, SlidingSync, dehydrated
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    OlmDevice,
    make_key,
    make_notice,
)
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Bridge
from tests.harness.servers.stage import NewDatabase, Shelf, Stage, Two, send, two_on
from tests.harness.waiting import eventually

Sent = Tuple[str, Dict[str, Any]]


def notice(sender_key: str = make_key("first"), **more: Any) -> Sent:
    return WITHHELD, make_notice(sender_key, **{"from_device": "DEV", **more})


def about_session(code: str) -> Sent:
    return notice(code=code, room_id="!room:withheld.test", session_id="session")


def request(kind: str, action: str = "request") -> Sent:
    asks = {"action": action, "requesting_device_id": "DEV", "request_id": "1"}
    return kind, asks


OTHER = (PLAIN, {"number": 1})
NEW_KEY = notice(make_key("second"))
REFUSED = notice(make_key("third")[:40] + "\0", from_device="a\0b")
UNVERIFIED, BLACKLISTED = about_session("m.unverified"), about_session("m.blacklisted")
KEYS, SECRETS = request("m.room_key_request"), request("m.secret.request")
BACK = "request_cancellation"
KEYS_BACK, SECRETS_BACK = request(KEYS[0], BACK), request(SECRETS[0], BACK)

# The configuration, what is sent to somebody away, and the places of what stays.
Case = Tuple[Dict[str, Any], Sequence[Sent], Sequence[int]]

CASES: dict[str, Case] = {
    "a repeat collapses": ({}, [notice()] * 6, [0]),
    "a new key supersedes": ({}, [notice(), OTHER, NEW_KEY, NEW_KEY], [1, 2]),
    # It never reaches a statement.
    "what PostgreSQL would refuse collapses": ({}, [REFUSED] * 3, [0]),
    "the newest code counts": (SWITCHED, [UNVERIFIED, OTHER, BLACKLISTED], [1, 2]),
    "a request is taken back": (SWITCHED, [SECRETS, OTHER, SECRETS_BACK], [1, 2]),
    "it vanishes": (SWITCHED, [KEYS, OTHER, KEYS, KEYS_BACK], [1]),
}


@on_both_databases
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_of_what_is_sent_only_what_is_new_stays(
    shelf: Shelf, new_database: NewDatabase, case: Case
) -> None:
    config, messages, stays = case
    two = await two_on(await shelf.homeserver(new_database, config))
    sent: list[dict[str, Any]] = []
    for kind, content in messages:
        # Clients tell copies apart; by what is traced nothing differs.
        traced = {**content, "org.matrix.msgid": str(len(sent))}
        sent.append(await two.send(traced, kind))
    await eventually(two.mailbox, [sent[place] for place in stays])


@on_both_databases
async def test_real_olm_messages_between_the_two_ends_rearm(two: Two) -> None:
    """In either direction: the next notice takes the place of the queued one."""
    somebody = await two.homeserver.register("somebody")
    sender = await two.sender.upload_keys()
    recipient = await two.recipient.upload_keys()
    room_key = sender.establish(recipient).encrypt("a room key")
    answer = recipient.establish(sender).encrypt("m.dummy")
    notice = await two.send(sender.notice())
    passed = []
    for author, to, content, rearms in (
        (two.sender, two.recipient, room_key, True),
        (two.recipient, two.sender, answer, True),
        # Whatever keys it names.
        (somebody, two.recipient, room_key, False),
    ):
        passed.append(await send(author, to, content, ENCRYPTED))
        async with two.homeserver.counted() as decided:
            await two.send(sender.notice())
            await two.send(sender.notice())
        expected = {"supersede": 1, "collapse": 1} if rearms else {"collapse": 2}
        assert decided == expected
    await eventually(two.mailbox, [passed[0], notice, passed[2]])


async def test_what_was_handed_out_may_be_repeated(two: Two) -> None:
    """The device may have slept before it acknowledged; the next takes its place."""
    since = (await two.recipient.sync())["next_batch"]
    first = await two.send(two.notice())
    await two.send(two.notice(reason="nobody asked since"))
    answered = await two.recipient.sync(since)
    assert answered["to_device"]["events"] == [first]
    newest = await two.send(two.notice(reason="again"))
    await eventually(two.mailbox, [newest])
    # An answer may be lost: with the old token and another timeout it is another
    # request, which no cache answers.
    repeated = await two.recipient.sync(since, timeout_ms=1)
    assert repeated["to_device"]["events"] == [newest]
    await two.recipient.sync(repeated["next_batch"])
    last = await two.send(two.notice(reason="after it was acknowledged"))
    assert two.mailbox() == [last]


SAMPLES = (Path(__file__).parents[1] / "samples/no_olm.jsonl").read_text()
LINES = [json.loads(line) for line in SAMPLES.splitlines()]


@pytest.mark.parametrize("client", ["43.0.0, crypto", "43.0.0, server", "34.13.0"])
async def test_of_what_real_clients_sent_one_of_a_pair_stays(
    two: Two, client: str
) -> None:
    """The first with its last key: it is the same again, or a store was lost."""
    stays: dict[str, Any] = {}
    for message in [each["message"] for each in LINES if client in each["client"]]:
        queued = await two.send(message["content"], message["type"])
        key = message["content"]["sender_key"]
        pair = message["content"].get("from_device", key)
        if pair not in stays or stays[pair]["content"]["sender_key"] != key:
            stays.pop(pair, None)
            stays[pair] = queued
    assert len(stays) == (2 if client == "34.13.0" else 7)
    await eventually(two.mailbox, [*stays.values()])


Read = Tuple[Homeserver, Bridge]


@async_yield_fixture(scope="module")
async def read(stage: Stage) -> AsyncIterator[Read]:
    """Run a Synapse whose mailboxes are read in every way, and by a bridge."""
    bridge = Bridge(stage.new_directory())
    config = bridge.configuration()
    config["experimental_features"].update(
        msc2697_enabled=False, msc3575_enabled=True, msc3814_enabled=True
    )
    yield await stage.start({}, config), bridge
    await bridge.stop()


async def send_both(two: Two, number: int) -> Messages:
    """Send a notice and another message; return them as they are queued."""
    return [
        await two.send(two.notice(number=number)),
        await two.send({"number": number}, PLAIN),
    ]


@pytest.mark.skipif(
    Version(version("matrix-synapse")) < Version("1.112"),
    reason="this Synapse has no simplified sliding sync with to-device messages",
)
async def test_sliding_sync_gives_one_notice_and_all_others_in_order(
    read: Read,
) -> None:
    """After a page that nobody acknowledged, the next takes the notice's place."""
    two = await two_on(read[0])
    device = SlidingSync(two.recipient, limit=2)
    await device.take()
    sent = [await send_both(two, number) for number in range(3)]
    assert await device.look() == sent[0]
    newest = await two.send(two.notice(reason="again"))
    left = [*(other for _, other in sent), newest]
    await eventually(two.mailbox, left)
    # The client asks again, since it got no answer.
    pages = [await device.take() for _ in range(3)]
    assert pages == [left[:2], left[2:], []]


async def test_dehydrated_device_has_the_newest_notice_and_all_others(
    read: Read,
) -> None:
    """However often it is read from the start."""
    two = await two_on(read[0])
    olm = OlmDevice(two.recipient.user_id, "DEHYDRATED")
    device = dehydrated(olm, olm.device_id)
    await two.recipient.succeed("PUT", DEHYDRATED, device)
    recipient = attrs.evolve(two.recipient, device_id=olm.device_id)
    away = attrs.evolve(two, recipient=recipient)
    sent = [await send_both(away, number) for number in range(4)]
    expected = [*(other for _, other in sent[:-1]), *sent[-1]]
    await eventually(away.mailbox, expected)
    path = f"{DEHYDRATED}/{olm.device_id}/events"
    for _ in range(2):
        assert (await two.recipient.succeed("POST", path, {}))["events"] == expected


async def test_bridge_is_given_each_notice_and_all_others_in_order(read: Read) -> None:
    """It never acknowledges, so each notice is stored; the newest stays."""
    homeserver, bridge = read
    recipient = await bridge.register(homeserver)
    two = attrs.evolve(await two_on(homeserver), recipient=recipient)
    sent: Messages = []
    for number in range(4):
        sent += await send_both(two, number)
        await eventually(lambda: bridge.received(two.recipient), sent)
    others = [each for each in sent[:-2] if each["type"] != WITHHELD]
    await eventually(two.mailbox, [*others, *sent[-2:]])
