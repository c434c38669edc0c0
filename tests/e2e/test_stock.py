"""What is none of the business of the module is stored as stock Synapse stores it."""

from __future__ import annotations

from typing import Any

import pytest

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
from tests.harness.samples import counted, total
from tests.harness.servers.homeserver import Homeserver, stored
from tests.harness.servers.stage import Two, everything_tidied, log_in, new_name

KEY = make_key("beside stock")
ODD = {"ü\u2028": [1.5, None, True, {"z": 1, "a": {}}], "": "\n\x7f", "n": 2**53}


def traffic(user_id: str) -> list[tuple[str, dict[str, dict[str, Any]], bool]]:
    """Return type, contents by user and device, and whether it is to stay."""

    def to(**contents: Any) -> dict[str, dict[str, Any]]:
        names = {"every": "*"}
        return {user_id: {names.get(key, key): each for key, each in contents.items()}}

    notice = make_notice(KEY, "SENDERDEV", **ODD)
    scoped = {**notice, "room_id": "!a:b", "session_id": "c"}
    return [
        (PLAIN, to(AWAY=ODD, SECOND={}), True),
        # Until the one for all devices comes, which is always stored.
        (WITHHELD, to(AWAY=notice), False),
        (WITHHELD, to(AWAY=notice), False),
        (WITHHELD, to(SECOND=notice, NOWHERE=notice), False),
        (WITHHELD, to(SECOND=scoped, AWAY=notice), False),
        (WITHHELD, to(every=notice), True),
        (WITHHELD, to(AWAY={**notice, "code": "m.unavailable"}, SECOND=ODD), True),
        (PLAIN, to(every=ODD), True),
        (WITHHELD, {"@nobody:withheld.test": {"*": notice}, user_id: {}}, True),
        (ENCRYPTED, to(AWAY=make_olm_lookalike(make_key("x"))), True),
        (WITHHELD, to(AWAY=make_notice(KEY, "OTHERDEV", **ODD)), True),
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
    recipient = await run_traffic(homeserver, names, everything=True)
    await run_traffic(stock, names, everything=False)
    await everything_tidied(homeserver)
    with_module, without = (
        [stored(each, recipient, device_id) for device_id in ("AWAY", "SECOND")]
        for each in (homeserver, stock)
    )
    assert with_module == without
    assert [len(rows) for rows in without] == [7, 5]


async def run_traffic(
    homeserver: Homeserver, names: tuple[str, str], *, everything: bool
) -> str:
    """Send the traffic, or what is to stay of it; return who it is for."""
    sender = await homeserver.register(names[0], device_id="SENDERDEV")
    away = await homeserver.register(names[1], device_id="AWAY")
    await log_in(away, "SECOND")
    for message_type, contents, stays in traffic(away.user_id):
        if everything or stays:
            assert await sender.send_to_device(message_type, contents) == 200
    return away.user_id


MESSAGES = "synapse_withheld_messages_total"


# What is changed of a notice, and the code that it is counted as.
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algorithm": ["m.megolm.v1.aes-sha2"]}, "malformed"),
        ({"sender_key": "A" * 65}, "malformed"),
        ({"code": "m.unverified"}, "m.unverified"),
        ({"code": "org.example.mine"}, "other"),
    ],
)
@in_reactor
async def test_what_is_no_notice_is_stored_counted_and_not_decided_about(
    two: Two, change: dict[str, Any], code: str
) -> None:
    async def count() -> float:
        metrics = await two.homeserver.metrics()
        return total(metrics, MESSAGES, code=code, source="local")

    before = await count()
    async with counted(two.homeserver) as decided:
        sent = [await two.send(two.notice(**change)) for _ in range(2)]
    assert (two.mailbox(), decided) == (sent, {})
    assert await count() - before == 2
