"""What the module has no business with is as on stock: bytes, order, log contexts."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Iterable

from tests.e2e.conftest import on_both_databases, on_postgres
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.samples import DECISIONS, FAILURES, TIDIED, failures, total
from tests.harness.servers.homeserver import Homeserver, mailbox_of, stored
from tests.harness.servers.neighbour import FROM_REMOTE, Neighbour
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import write_log_config
from tests.harness.servers.stage import (
    MODULE,
    NewDatabase,
    Stage,
    Two,
    everything_tidied,
    log_in,
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
        await log_in(away, "SECOND")
        for message_type, contents, stays in TRAFFIC:
            if stays or each is homeserver:
                messages = {away.user_id: contents}
                assert await sender.send_to_device(message_type, messages) == 200
    await everything_tidied(homeserver)
    with_module, without = (
        [stored(each, away.user_id, device_id) for device_id in ("AWAY", "SECOND", "*")]
        for each in (homeserver, stock)
    )
    assert with_module == without
    assert [len(rows) for rows in without] == [7, 5, 0]


TRANSACTIONS, EDUS = 3, 100  # of which one has at most so many
RECIPIENT = "@recipient:withheld.test"
SAME = make_notice(make_key("repeating"), "D")


def edu(number: int) -> tuple[str, str, str, Any]:
    """Return sender, device, type and content: a notice, or another message in turn."""
    transaction, place = divmod(number, EDUS)
    pair = place // 2
    sender = ("repeating", "one", "another")[pair % 3]
    device_id = ("KNOWN", f"NEW{transaction}")[pair % 2]
    if (place % 2 == 0) != (pair % 4 < 2):
        return sender, device_id, PLAIN, {"number": number}
    # Some of those that are the same are believed to be duplicates.
    notice = make_notice(make_key(sender), f"D{number}")
    return sender, device_id, WITHHELD, SAME if sender == "repeating" else notice


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
    known = await homeserver.register("recipient", device_id="KNOWN")
    sent = [edu(number) for number in range(TRANSACTIONS * EDUS)]

    def contents_of(device_id: str) -> list[dict[str, Any]]:
        queued = mailbox_of(homeserver, RECIPIENT, device_id)
        return [each["content"] for each in queued]

    def last_is_there() -> bool:
        _, device_id, _, last = part[-1]
        return last in contents_of(device_id)

    for begin in range(0, len(sent), EDUS):
        await log_in(known, f"NEW{begin // EDUS}")
        part = sent[begin : begin + EDUS]
        edus = [
            {
                "sender": remote.user(sender),
                "type": message_type,
                "message_id": f"{begin} {place}",
                "messages": {RECIPIENT: {device_id: content}},
            }
            for place, (sender, device_id, message_type, content) in enumerate(part)
        ]
        assert (await remote.send_edus(homeserver, edus))[0] == 200
        await eventually(last_is_there, True)
    await everything_tidied(homeserver)

    saw = inside.saw(FROM_REMOTE, RECIPIENT)
    handed = [each["content"] for by_device in saw for each in by_device.values()]
    assert different(handed) == different(each[3] for each in sent)
    # Each is found behind the one before; what collapsed is missing.
    repeating = [each[3] for each in sent if each[0] == "repeating"]
    rest = iter(repeating)
    assert all(each in rest for each in handed if each in repeating)
    for device_id in {each[1] for each in sent}:
        left = contents_of(device_id)
        assert left.count(SAME) == 1
        orders = list if new_database is sqlite else partial(sorted, key=str)
        mine = different(each[3] for each in sent if each[1] == device_id)
        assert orders(different(left)) == orders(mine)
    assert await failures(homeserver) == 0
    assert total(await homeserver.metrics(), DECISIONS, reason="released") > 0


CONNECTIONS, ROUNDS = 12, 12
# After the time: who warns, and of what.
WARNING = r"^\S+ \S+ (?=.*(?:context|sentinel))(\S+ (?:WARNING|ERROR|CRITICAL) .*)$"


def warnings(log: str) -> set[str]:
    """Return what a log warns of about log contexts, without names and numbers."""
    found = re.findall(WARNING, log, re.MULTILINE | re.IGNORECASE)
    return {re.sub(r"\S*\d\S*", "…", each) for each in found}


async def storm_on(
    stage: Stage, module: dict[str, Any] | None, remote: RemoteServer
) -> tuple[Two, str]:
    """Let many connections and another server send at once; return all of the log."""
    site = stage.site()
    directory = site.directory / "everything"
    write_log_config(directory, directory / "everything.log", level="DEBUG")
    config = {"log_config": str(directory / "log.yaml")}
    two = await two_on(await stage.start(module, config, site))

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
            user_id = remote.user("sender")
            await remote.send_edu(two.homeserver, user_id, kind, messages)

    await together(*map(keep_sending, range(CONNECTIONS)), send_from_there())
    if module is not None:
        await everything_tidied(two.homeserver)
    return two, (directory / "everything.log").read_text(errors="replace")


@on_postgres
async def test_a_storm_leaves_one_notice_and_every_olm_message(
    own_stage: Stage, remote: RemoteServer
) -> None:
    """In order; nobody loses a race, nor a log context that stock does not lose."""
    _, on_stock = await storm_on(own_stage, None, remote)
    two, log = await storm_on(own_stage, {}, remote)
    queued = two.mailbox()
    types = [each["type"] for each in queued if each["sender"] == two.sender.user_id]
    assert types.count(WITHHELD) == 1
    others = [each["content"] for each in queued if each["type"] == ENCRYPTED]
    for connection in range(CONNECTIONS):
        found = [each["number"] for each in others if each["from"] == connection]
        assert found == [0, 4, 8]
    metrics = await two.homeserver.metrics()
    for decided in ({"decision": "collapse"}, {"reason": "released"}):
        assert total(metrics, DECISIONS, **decided) > 0
    assert total(metrics, TIDIED) > 0
    assert total(metrics, FAILURES) == 0
    assert "could not serialize" not in log
    assert " DEBUG " in log
    assert warnings(log) - warnings(on_stock) == set()
    # They would be seen.
    line = "2026-11-25 18:41:38 twisted ERROR PUT-7 Re-starting finished log context"
    assert len(warnings(line)) == 1
