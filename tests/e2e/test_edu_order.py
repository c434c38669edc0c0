"""EDUs of one federation transaction are stored in the order in which they came."""

from __future__ import annotations

from itertools import count
from typing import Any

import attrs

from tests.e2e.conftest import on_both_databases
from tests.harness.clients.messages import PLAIN, WITHHELD, make_key, make_notice
from tests.harness.databases.mailbox import mailbox_of
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.stage import (
    MODULE,
    NewDatabase,
    Stage,
    everything_tidied,
    log_in,
    sqlite,
)
from tests.harness.metrics.samples import failures
from tests.harness.modules.neighbour import FROM_REMOTE, Neighbour
from tests.harness.polling import eventually
from tests.harness.reactor import in_reactor

# A transaction has at most 100 EDUs.
TRANSACTIONS, PAIRS = 3, 50
RECIPIENT = "@recipient:withheld.test"
# Its notices say all the same, so that some are believed to be duplicates.
REPEATING = "repeating"


@attrs.frozen
class Edu:
    """One message from another server to one device."""

    sender: str
    device_id: str
    message_type: str
    content: dict[str, Any]

    @property
    def messages(self) -> dict[str, Any]:
        return {RECIPIENT: {self.device_id: self.content}}


def traffic() -> list[list[Edu]]:
    """Return transactions: pairs of named and unnamed types, from three senders.

    To one device in all of them, and to one of its own in each.
    """
    numbers = count()
    transactions = []
    for transaction in range(TRANSACTIONS):
        edus: list[Edu] = []
        for pair in range(PAIRS):
            sender = (REPEATING, "one", "another")[pair % 3]
            device_id = ("KNOWN", f"NEW{transaction}")[pair % 2]
            number = next(numbers)
            if sender == REPEATING:
                notice = make_notice(make_key(sender), "SENDERDEV")
            else:
                # Each of a device of its own: none says anything about others.
                notice = make_notice(make_key(sender), f"D{number}", number=number)
            both = [
                Edu(sender, device_id, WITHHELD, notice),
                Edu(sender, device_id, PLAIN, {"number": number, "from": sender}),
            ]
            edus += both if pair % 4 < 2 else reversed(both)
        transactions.append(edus)
    return transactions


async def start(stage: Stage, *, module: bool) -> tuple[Homeserver, Neighbour]:
    """Start a Synapse, and what looks on next to it, inside of the module."""
    site = stage.site()
    neighbour = Neighbour(site.directory, "inside")
    ours = [{"module": MODULE, "config": {}}] if module else []
    modules = [neighbour.module(), *ours]
    return await stage.start(None, {"modules": modules}, site), neighbour


async def play(
    homeserver: Homeserver, remote: RemoteServer, transactions: list[list[Edu]]
) -> None:
    """Send them one after the other; a device is logged in just before it is needed."""
    known = await homeserver.register("recipient", device_id="KNOWN")
    for number, edus in enumerate(transactions):
        await log_in(known, f"NEW{number}")
        contents = [
            {
                "sender": remote.user(edu.sender),
                "type": edu.message_type,
                "message_id": f"{number} {place}",
                "messages": edu.messages,
            }
            for place, edu in enumerate(edus)
        ]
        status, _ = await remote.send_edus(homeserver, contents)
        assert status == 200
        device_id = edus[-1].device_id
        last = [edu.content for edu in edus if edu.device_id == device_id][-1]

        def arrived(device_id: str = device_id, last: Any = last) -> bool:
            return last in contents_of(homeserver, device_id)

        await eventually(arrived, True)


def contents_of(homeserver: Homeserver, device_id: str) -> list[dict[str, Any]]:
    """Return the contents of what is in a mailbox."""
    queued = mailbox_of(homeserver, RECIPIENT, device_id)
    return [each["content"] for each in queued]


def devices() -> list[str]:
    return ["KNOWN", *(f"NEW{number}" for number in range(TRANSACTIONS))]


def handed_over(neighbour: Neighbour) -> list[dict[str, Any]]:
    """Return the contents in the order in which the store was given them."""
    given = neighbour.saw(FROM_REMOTE, RECIPIENT)
    return [message["content"] for by_device in given for message in by_device.values()]


def without_repeated(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return contents without those of which only one has to stay."""
    return [each for each in contents if "number" in each]


@on_both_databases
@in_reactor
async def test_edus_are_handed_over_in_order_and_none_is_turned_round(
    own_stage: Stage, remote: RemoteServer, new_database: NewDatabase
) -> None:
    """On SQLite the mailboxes then are stock's; PostgreSQL promises no order to stock.

    What is believed to be a duplicate waits, and nothing of its sender overtakes it.
    """
    stock, beside_stock = await start(own_stage, module=False)
    homeserver, inside = await start(own_stage, module=True)
    transactions = traffic()
    await play(stock, remote, transactions)
    await play(homeserver, remote, transactions)
    everything = [edu for edus in transactions for edu in edus]
    sent = [edu.content for edu in everything]

    assert handed_over(beside_stock) == sent
    handed = handed_over(inside)
    assert without_repeated(handed) == without_repeated(sent)
    assert keeps_order(handed, sent)
    await everything_tidied(homeserver)
    is_sqlite = new_database is sqlite
    for device_id in devices():
        left, as_stock = (contents_of(each, device_id) for each in (homeserver, stock))
        assert len(left) - len(without_repeated(left)) == 1
        both = without_repeated(left), without_repeated(as_stock)
        if is_sqlite:
            assert both[0] == both[1]
        else:
            assert sorted(both[0], key=str) == sorted(both[1], key=str)
    assert await failures(homeserver) == 0


def keeps_order(handed: list[dict[str, Any]], sent: list[dict[str, Any]]) -> bool:
    """Say whether of the sender that repeats itself nothing overtook anything.

    What collapsed is missing.
    """
    rest = iter(of_repeating(sent))
    return all(each in rest for each in of_repeating(handed))


def of_repeating(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the sender that repeats itself sent."""
    return [
        each
        for each in contents
        if "number" not in each or each.get("from") == REPEATING
    ]


def test_what_is_turned_round_would_be_seen() -> None:
    """A copy that is missing is none of it."""
    notice = make_notice(make_key(REPEATING), "SENDERDEV")
    first, second = ({"number": number, "from": REPEATING} for number in range(2))
    sent = [notice, first, notice, second]
    assert keeps_order([notice, first, second], sent)
    assert keeps_order([first, notice, second], sent)
    for wrong in ([second, first], [first, second, notice]):
        assert not keeps_order(wrong, sent)
