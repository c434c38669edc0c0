"""What the module has no business with is as on stock: bytes, order, log contexts."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Iterable

import attrs

from tests.e2e.conftest import on_both_databases, on_postgres
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.samples import DECISIONS, total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.modules import FROM_REMOTE, Neighbour
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import (
    MODULE,
    NewDatabase,
    Stage,
    Two,
    everything_tidied,
    new_name,
    sqlite,
    two_on,
)
from tests.harness.waiting import eventually, together

ODD = {"ü\u2028": [1.5, None, True, {"z": 1, "a": {}}], "": "\n\x7f", "n": 2**53}
NOTICE = make_notice(make_key("one"), "SENDERDEV", **ODD)
SCOPED = {**NOTICE, "room_id": "!a:b", "session_id": "c"}
ANOTHER = {**NOTICE, "from_device": "OTHERDEV"}
AGAIN, FOR_ALL = {**NOTICE, "reason": "again"}, {**NOTICE, "reason": "for all"}
OLM, ODD_OLM = make_olm_lookalike(make_key("x")), {**ODD, "algorithm": "m.none"}

DEVICES = "AWAY", "SECOND", "*"
# Type, contents by device, and whether it is to stay.
TRAFFIC: list[tuple[str, dict[str, dict[str, Any]], bool]] = [
    (PLAIN, {"AWAY": ODD, "SECOND": {}}, True),
    # Until the one for all devices comes, which is always stored.
    (WITHHELD, {"AWAY": NOTICE}, False),
    (WITHHELD, {"AWAY": NOTICE}, False),
    (WITHHELD, {"SECOND": NOTICE, "NOWHERE": NOTICE}, False),
    (WITHHELD, {"SECOND": SCOPED, "AWAY": NOTICE}, False),
    (WITHHELD, {"*": FOR_ALL}, False),
    (WITHHELD, {"*": NOTICE}, True),
    # Beside others it is a device of that name, and never left alone.
    (WITHHELD, {"*": NOTICE, "AWAY": ANOTHER}, False),
    (WITHHELD, {"*": NOTICE, "AWAY": ANOTHER}, True),
    (WITHHELD, {"AWAY": {**NOTICE, "code": "m.unavailable"}, "SECOND": ODD}, True),
    (PLAIN, {"*": ODD}, True),
    (WITHHELD, {}, True),
    (ENCRYPTED, {"AWAY": OLM}, True),
    (ENCRYPTED, {"*": ODD_OLM}, True),
    (WITHHELD, {"AWAY": AGAIN}, False),
]


@on_both_databases
async def test_all_is_stored_as_on_stock(
    homeserver: Homeserver, stock: Homeserver
) -> None:
    """The same traffic, without what is redundant, leaves the same bytes on stock."""
    names = (new_name("sender"), new_name("recipient"))
    for each in (homeserver, stock):
        sender = await each.register(names[0], device_id="SENDERDEV")
        away = await each.register(names[1], device_id="AWAY")
        await away.log_in("SECOND")
        for message_type, contents, stays in TRAFFIC:
            if stays or each is homeserver:
                messages = {away.user_id: contents}
                assert await sender.send_to_device(message_type, messages) == 200
    await everything_tidied(homeserver)
    with_module, without = (
        [each.texts(attrs.evolve(away, device_id=name)) for name in DEVICES]
        for each in (homeserver, stock)
    )
    assert with_module == without
    assert [len(rows) for rows in without] == [7, 5, 0]


IN_TRANSACTION = 100  # EDUs, at most
SAME = make_notice(make_key("repeating"), "D")


def edu(number: int) -> tuple[str, str, Any]:
    """Return sender, type and content: a notice, or another message in turn."""
    sender = ("repeating", "one", "another")[number % 3]
    if number // 3 % 2:
        return sender, PLAIN, {"number": number}
    # Some of those that are the same are believed to be duplicates.
    notice = make_notice(make_key(sender), f"D{number}")
    return sender, WITHHELD, SAME if sender == "repeating" else notice


def different(contents: Iterable[Any]) -> list[Any]:
    return [each for each in contents if each != SAME]


@on_both_databases
async def test_edus_are_stored_in_the_order_in_which_they_came(
    own_stage: Stage, remote: RemoteServer, new_database: NewDatabase
) -> None:
    """What is believed to be a duplicate waits, and nothing of its sender overtakes it.

    On SQLite they are in the mailbox in that order too, as on stock Synapse; PostgreSQL
    promises stock none.
    """
    site = own_stage.site()
    inside = Neighbour(site.directory, "inside")
    modules = [inside.module(), {"module": MODULE, "config": {}}]
    homeserver = await own_stage.start(None, {"modules": modules}, site)
    away = await homeserver.register("recipient")
    sent, edus = [], []
    for number in range(3 * IN_TRANSACTION):
        sender, kind, content = edu(number)
        about = {"sender": remote.user(sender), "type": kind, "message_id": f"{number}"}
        edus.append({**about, "messages": {away.user_id: {away.device_id: content}}})
        sent.append(content)

    def queued() -> list[Any]:
        return [each["content"] for each in homeserver.mailbox(away)]

    def is_there(content: Any) -> bool:
        return content in queued()

    for end in range(IN_TRANSACTION, len(edus) + 1, IN_TRANSACTION):
        part = edus[end - IN_TRANSACTION : end]
        assert (await remote.send_edus(homeserver, part))[0] == 200
        await eventually(partial(is_there, sent[end - 1]), True)
    await everything_tidied(homeserver)

    saw = [each[away.device_id] for each in inside.saw(FROM_REMOTE, away.user_id)]
    assert different(each["content"] for each in saw) == different(sent)
    # Each is found behind the one before; what collapsed is missing.
    rest = iter(sent[::3])
    repeating = [each for each in saw if each["sender"] == remote.user("repeating")]
    assert all(each["content"] in rest for each in repeating)
    left = queued()
    assert left.count(SAME) == 1
    orders = list if new_database is sqlite else partial(sorted, key=str)
    assert orders(different(left)) == orders(different(sent))
    assert await homeserver.failures() == 0
    assert total(await homeserver.metrics(), DECISIONS, reason="released") > 0


CONNECTIONS, ROUNDS = 12, 12
# After the time: who warns, and of what.
WARNING = r"^\S+ \S+ (?=.*(?:context|sentinel))(\S+ (?:WARNING|ERROR|CRITICAL) .*)$"


def warnings(log: str) -> set[str]:
    """Return what a log warns of about log contexts, without names and numbers."""
    found = re.findall(WARNING, log, re.MULTILINE | re.IGNORECASE)
    return {re.sub(r"\S*\d\S*", "…", each) for each in found}


async def storm_on(homeserver: Homeserver, remote: RemoteServer) -> tuple[Two, str]:
    """Let many connections and another server send at once; return what was logged."""
    two, begin = await two_on(homeserver), homeserver.log_path.stat().st_size

    async def keep_sending(connection: int) -> None:
        for number in range(ROUNDS):
            await two.send(two.notice(reason=f"{connection} {number}"))
            if number % 4 == 0:
                olm = make_olm_lookalike(two.sender_key)
                olm.update({"from": connection, "number": number})
                await two.send(olm, ENCRYPTED)
            if number % 6 == 0:
                await two.recipient.sync()

    async def send_from_there() -> None:
        messages = {two.recipient.user_id: {two.recipient.device_id: two.notice()}}
        for number in range(20):
            kind = [WITHHELD, WITHHELD, PLAIN][number % 3]
            await remote.send_edu(homeserver, remote.user("sender"), kind, messages)

    await together(*map(keep_sending, range(CONNECTIONS)), send_from_there())
    return two, homeserver.log_path.read_bytes()[begin:].decode()


@on_postgres
async def test_a_storm_leaves_one_notice_and_every_olm_message(
    homeserver: Homeserver, stock: Homeserver, remote: RemoteServer
) -> None:
    """In order; nobody loses a race, nor a log context that stock does not lose."""
    _, on_stock = await storm_on(stock, remote)
    failed = await homeserver.failures()
    async with homeserver.counted() as decided:
        two, log = await storm_on(homeserver, remote)
    await everything_tidied(homeserver)
    queued = two.mailbox()
    types = [each["type"] for each in queued if each["sender"] == two.sender.user_id]
    assert types.count(WITHHELD) == 1
    others = [each["content"] for each in queued if each["type"] == ENCRYPTED]
    for connection in range(CONNECTIONS):
        found = [each["number"] for each in others if each["from"] == connection]
        assert found == [0, 4, 8]
    assert decided["collapse"] > 0
    assert await homeserver.failures() == failed
    assert "could not serialize" not in log
    assert warnings(log) - warnings(on_stock) == set()
    # They would be seen.
    line = "2026-11-25 18:41:38 twisted ERROR PUT-7 Re-starting finished log context"
    assert len(warnings(line)) == 1
