"""EDUs of one federation transaction are stored in the order in which they came."""

from __future__ import annotations

from itertools import count
from typing import Any, Dict, List

from tests.e2e.conftest import on_both_databases
from tests.harness.messages import PLAIN, WITHHELD, make_key, make_notice
from tests.harness.reactor import in_reactor
from tests.harness.samples import failures
from tests.harness.servers.homeserver import Homeserver, mailbox_of
from tests.harness.servers.neighbour import FROM_REMOTE, Neighbour
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import (
    MODULE,
    NewDatabase,
    Stage,
    everything_tidied,
    log_in,
    sqlite,
)
from tests.harness.waiting import eventually

# A transaction has at most 100 EDUs.
TRANSACTIONS, PAIRS = 3, 50
RECIPIENT = "@recipient:withheld.test"
DEVICES = ["KNOWN", *(f"NEW{number}" for number in range(TRANSACTIONS))]
# Its notices say all the same, so that some are believed to be duplicates.
REPEATING = "repeating"

Contents = List[Dict[str, Any]]


def traffic() -> list[list[tuple[str, str, str, dict[str, Any]]]]:
    """Return transactions: pairs of named and unnamed types, from three senders.

    Of each message its sender, device, type and content.
    """
    numbers = count()
    transactions = []
    for transaction in range(TRANSACTIONS):
        edus: list[tuple[str, str, str, dict[str, Any]]] = []
        for pair in range(PAIRS):
            sender = (REPEATING, "one", "another")[pair % 3]
            device_id = ("KNOWN", f"NEW{transaction}")[pair % 2]
            number = next(numbers)
            # Each of a device of its own: none says anything about others.
            notice = make_notice(make_key(sender), f"D{number}", number=number)
            if sender == REPEATING:
                notice = make_notice(make_key(sender), "SENDERDEV")
            both = [
                (sender, device_id, WITHHELD, notice),
                (sender, device_id, PLAIN, {"number": number, "from": sender}),
            ]
            edus += both if pair % 4 < 2 else reversed(both)
        transactions.append(edus)
    return transactions


async def play(stage: Stage, remote: RemoteServer, *ours: Any) -> Homeserver:
    """Start a Synapse and send it transaction after transaction.

    What looks on is next to Synapse, inside of the module. A device is logged in just
    before it is needed.
    """
    site = stage.site()
    modules = [Neighbour(site.directory, "inside").module(), *ours]
    homeserver = await stage.start(None, {"modules": modules}, site)
    known = await homeserver.register("recipient", device_id="KNOWN")
    for number, edus in enumerate(traffic()):
        await log_in(known, f"NEW{number}")
        contents = [
            {
                "sender": remote.user(sender),
                "type": message_type,
                "message_id": f"{number} {place}",
                "messages": {RECIPIENT: {device_id: content}},
            }
            for place, (sender, device_id, message_type, content) in enumerate(edus)
        ]
        status, _ = await remote.send_edus(homeserver, contents)
        assert status == 200
        _, device_id, _, last = edus[-1]

        def arrived(device_id: str = device_id, last: Any = last) -> bool:
            return last in contents_of(homeserver, device_id)

        await eventually(arrived, True)
    return homeserver


def contents_of(homeserver: Homeserver, device_id: str) -> Contents:
    queued = mailbox_of(homeserver, RECIPIENT, device_id)
    return [each["content"] for each in queued]


def handed_over(homeserver: Homeserver) -> Contents:
    """Return the contents in the order in which the store was given them."""
    neighbour = Neighbour(homeserver.log_path.parent, "inside")
    given = neighbour.saw(FROM_REMOTE, RECIPIENT)
    return [message["content"] for by_device in given for message in by_device.values()]


def without_repeated(contents: Contents) -> Contents:
    return [each for each in contents if "number" in each]


def of_repeating(contents: Contents) -> Contents:
    """Return what the sender that repeats itself sent."""
    return [
        each
        for each in contents
        if "number" not in each or each.get("from") == REPEATING
    ]


@on_both_databases
@in_reactor
async def test_edus_are_handed_over_in_order_and_none_is_turned_round(
    own_stage: Stage, remote: RemoteServer, new_database: NewDatabase
) -> None:
    """On SQLite the mailboxes then are stock's; PostgreSQL promises no order to stock.

    What is believed to be a duplicate waits, and nothing of its sender overtakes it.
    """
    stock = await play(own_stage, remote)
    homeserver = await play(own_stage, remote, {"module": MODULE, "config": {}})
    sent = [content for edus in traffic() for *_, content in edus]

    assert handed_over(stock) == sent
    handed = handed_over(homeserver)
    assert without_repeated(handed) == without_repeated(sent)
    # Each is found behind the one before; what collapsed is missing.
    rest = iter(of_repeating(sent))
    assert all(each in rest for each in of_repeating(handed))
    await everything_tidied(homeserver)
    for device_id in DEVICES:
        left = contents_of(homeserver, device_id)
        mine, stocks = map(without_repeated, (left, contents_of(stock, device_id)))
        assert len(left) - len(mine) == 1
        if new_database is not sqlite:
            mine, stocks = sorted(mine, key=str), sorted(stocks, key=str)
        assert mine == stocks
    assert await failures(homeserver) == 0
