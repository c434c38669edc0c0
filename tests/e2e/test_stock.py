"""What the module has no business with is as on stock: bytes, order, log contexts."""

from __future__ import annotations

import re
from typing import Any, Iterator, Tuple

from tests.e2e.conftest import on_both_databases
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import in_reactor
from tests.harness.samples import DECISIONS, TIDIED, failures, total
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

KEY = make_key("beside stock")
ODD = {"ü\u2028": [1.5, None, True, {"z": 1, "a": {}}], "": "\n\x7f", "n": 2**53}


def traffic(user_id: str) -> list[tuple[str, dict[str, dict[str, Any]], bool]]:
    """Return type, contents by user and device, and whether it is to stay."""

    def to(**contents: Any) -> dict[str, dict[str, Any]]:
        names = {"every": "*"}
        return {user_id: {names.get(key, key): each for key, each in contents.items()}}

    notice = make_notice(KEY, "SENDERDEV", **ODD)
    scoped = {**notice, "room_id": "!a:b", "session_id": "c"}
    another = make_notice(KEY, "OTHERDEV", **ODD)
    return [
        (PLAIN, to(AWAY=ODD, SECOND={}), True),
        # Until the one for all devices comes, which is always stored.
        (WITHHELD, to(AWAY=notice), False),
        (WITHHELD, to(AWAY=notice), False),
        (WITHHELD, to(SECOND=notice, NOWHERE=notice), False),
        (WITHHELD, to(SECOND=scoped, AWAY=notice), False),
        (WITHHELD, to(every={**notice, "reason": "for all"}), False),
        (WITHHELD, to(every=notice), True),
        # Beside others it is a device of that name, and never left alone.
        (WITHHELD, to(every=notice, AWAY=another), False),
        (WITHHELD, to(every=notice, AWAY=another), True),
        (WITHHELD, to(AWAY={**notice, "code": "m.unavailable"}, SECOND=ODD), True),
        (PLAIN, to(every=ODD), True),
        (WITHHELD, {"@nobody:withheld.test": {"*": notice}, user_id: {}}, True),
        (ENCRYPTED, to(AWAY=make_olm_lookalike(make_key("x"))), True),
        (ENCRYPTED, to(every={**ODD, "algorithm": "m.none"}), True),
        (WITHHELD, to(AWAY={**notice, "reason": "again"}), False),
    ]


@on_both_databases
@in_reactor
async def test_what_is_stored_is_stored_as_on_stock(
    homeserver: Homeserver, stock: Homeserver
) -> None:
    """The same traffic, without what is redundant, leaves the same bytes on stock."""
    names = (new_name("sender"), new_name("recipient"))
    for each in (homeserver, stock):
        sender = await each.register(names[0], device_id="SENDERDEV")
        away = await each.register(names[1], device_id="AWAY")
        await log_in(away, "SECOND")
        for message_type, contents, stays in traffic(away.user_id):
            if stays or each is homeserver:
                assert await sender.send_to_device(message_type, contents) == 200
    await everything_tidied(homeserver)
    with_module, without = (
        [stored(each, away.user_id, device_id) for device_id in ("AWAY", "SECOND", "*")]
        for each in (homeserver, stock)
    )
    assert with_module == without
    assert [len(rows) for rows in without] == [7, 5, 0]


# An EDU: sender, device, type and content. A transaction has at most 100 of them.
Edu = Tuple[str, str, str, "dict[str, Any]"]
TRANSACTIONS = 3
RECIPIENT = "@recipient:withheld.test"


def edus_of(transaction: int) -> Iterator[Edu]:
    """Give notices and other messages in turn, of three senders, for two devices.

    All that one of the senders has to say is the same, so that some of it is believed
    to be a duplicate.
    """
    for place in range(100):
        pair, number = place // 2, transaction * 100 + place
        sender = ("repeating", "one", "another")[pair % 3]
        device_id = ("KNOWN", f"NEW{transaction}")[pair % 2]
        if (place % 2 == 0) == (pair % 4 < 2):
            device = f"D{number}" if sender != "repeating" else "D"
            yield sender, device_id, WITHHELD, make_notice(make_key(sender), device)
        else:
            yield sender, device_id, PLAIN, {"number": number, "from": sender}


@on_both_databases
@in_reactor
async def test_edus_of_one_transaction_are_stored_in_the_order_in_which_they_came(
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

    def contents_of(device_id: str) -> list[dict[str, Any]]:
        queued = mailbox_of(homeserver, RECIPIENT, device_id)
        return [each["content"] for each in queued]

    def last_is_there() -> bool:
        _, device_id, _, last = sent[-1]
        return last in contents_of(device_id)

    sent: list[Edu] = []
    for number in range(TRANSACTIONS):
        await log_in(known, f"NEW{number}")
        edus = [*edus_of(number)]
        contents = [
            {
                "sender": remote.user(sender),
                "type": message_type,
                "message_id": f"{number} {place}",
                "messages": {RECIPIENT: {device_id: content}},
            }
            for place, (sender, device_id, message_type, content) in enumerate(edus)
        ]
        assert (await remote.send_edus(homeserver, contents))[0] == 200
        sent += edus
        await eventually(last_is_there, True)
    await everything_tidied(homeserver)

    same = make_notice(make_key("repeating"), "D")
    handed = [
        message["content"]
        for by_device in inside.saw(FROM_REMOTE, RECIPIENT)
        for message in by_device.values()
    ]
    others = [each[3] for each in sent if each[0] != "repeating"]
    assert [each for each in handed if each in others] == others
    # Each is found behind the one before; what collapsed is missing.
    rest = iter([each[3] for each in sent if each[0] == "repeating"])
    assert all(each in rest for each in handed if each not in others)
    for device_id in ("KNOWN", *(f"NEW{number}" for number in range(TRANSACTIONS))):
        left = contents_of(device_id)
        assert left.count(same) == 1
        left.remove(same)
        mine = [each[3] for each in sent if each[1] == device_id and each[3] != same]
        if new_database is not sqlite:
            left, mine = sorted(left, key=str), sorted(mine, key=str)
        assert left == mine
    assert await failures(homeserver) == 0
    assert total(await homeserver.metrics(), DECISIONS, reason="released") > 0


# Who warns, and of what: the time and the request before, names and numbers differ.
LINE = re.compile(r"^\S+ \S+ (?P<logger>\S+) (?:WARNING|ERROR|CRITICAL) (?P<text>.*)$")
ABOUT_CONTEXTS = re.compile(r"log ?context|logging ?context|sentinel", re.IGNORECASE)


async def log_of(
    stage: Stage, module: dict[str, Any] | None, remote: RemoteServer
) -> tuple[str, dict[str, float]]:
    """Let a Synapse live with all of its log; return that, and its metrics."""
    site = stage.site()
    directory = site.directory / "everything"
    write_log_config(directory, directory / "everything.log", level="DEBUG")
    config = {"log_config": str(directory / "log.yaml")}
    homeserver = await stage.start(module, config, site)
    people = [await two_on(homeserver) for _ in range(3)]

    async def keep_sending(two: Two, connection: int) -> None:
        for number in range(12):
            key = make_key(f"{two.sender_key} {number // 6}")
            await two.send(two.notice(sender_key=key))
            if (connection + number) % 4 == 0:
                await two.send({"number": number}, PLAIN)
            if (connection + number) % 6 == 0:
                await two.recipient.sync()

    await together(*(keep_sending(people[each % 3], each) for each in range(12)))
    two = people[0]
    messages = {two.recipient.user_id: {two.recipient.device_id: two.notice()}}
    for number in range(20):
        kind = [WITHHELD, WITHHELD, PLAIN][number % 3]
        await remote.send_edu(homeserver, remote.user("sender"), kind, messages)
    if module is not None:
        await everything_tidied(homeserver)
    log = (directory / "everything.log").read_text(errors="replace")
    return log, await homeserver.metrics()


def warnings(log: str) -> set[str]:
    """Return what a log warns of about log contexts, without names and numbers."""
    return {
        re.sub(r"\S*\d\S*", "…", found["text"])
        for found in map(LINE.match, log.splitlines())
        if found
        and (
            found["logger"].startswith("synapse.logging.context")
            or ABOUT_CONTEXTS.search(found["text"])
        )
    }


@in_reactor
async def test_no_log_context_is_lost_that_stock_does_not_lose(
    own_stage: Stage, remote: RemoteServer
) -> None:
    """Duplicates wait and are released, and rows are tidied, at level DEBUG."""
    stock, _ = await log_of(own_stage, None, remote)
    log, metrics = await log_of(own_stage, {}, remote)
    assert total(metrics, DECISIONS, decision="collapse") > 0
    assert total(metrics, DECISIONS, reason="released") > 0
    assert total(metrics, TIDIED) > 0
    assert " DEBUG " in log
    assert warnings(log) - warnings(stock) == set()
    # They would be seen.
    line = "2026-11-25 18:41:38 twisted ERROR PUT-7 Re-starting finished log context"
    assert len(warnings(line)) == 1
