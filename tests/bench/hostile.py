"""What requests that are meant to hurt cost, and how long others wait.

They are as large as Synapse lets them be.
"""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import Any, Awaitable, Callable, NamedTuple

from synapse_withheld.delivery.sorting import MOST_SORTED
from tests.bench.asking import answers
from tests.bench.lanes import Lane, lanes
from tests.demo.output import say, show
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.waiting import pause

# All of them away for good.
_ADD_DEVICES = """
    INSERT INTO devices (user_id, device_id, display_name, hidden)
    SELECT ?, 'MANY' || n, 'one of many', FALSE FROM generate_series(0, ?) AS n
"""
_VICTIM = f"@victim:{SERVER_NAME}"
_MANY_DEVICES, _IN_EDU = 1_000, 3_600
# So that 1,000 of them fit into a request.
_HUGE = "".join(f"{number:08x}" for number in range(5_000))
# Of what is small so many are weighed together: one is lost in what others do.
_SMALL = 10

# Between an answer to somebody else and the next request; how long it takes to begin,
# and how long its answers are looked at after the last answer.
GAP_S, STARTED_WITHIN_S, AFTERWARDS_S = 0.01, 1.0, 3.0

_NUMBERS = count()
_KEY = make_key("attacker")
_NOTICE = make_notice(_KEY, "ATTACKER")
_HUGE_NOTICE = make_notice(_KEY, "HUGE", reason=_HUGE)
_OLM = make_olm_lookalike(_KEY, make_key("recipient"), "A" * 700)

_HOW = (
    "The least of {} rounds, in turns. Processor: of Synapse and its database, until "
    "what comes after the answer is over. Then once more, while somebody else asks for "
    f"`/_matrix/client/versions` every {1000 * GAP_S:.0f} ms. Busy: the most that "
    "Synapse took of the processor during one of these answers, so long did others "
    "wait. Wanted: at most 1.5 times stock's."
)

Messages = dict[str, dict[str, Any]]


class Attack(NamedTuple):
    name: str
    times: int  # weighed together
    messages: Callable[[], Messages]
    kind: str = WITHHELD
    is_from_abroad: bool = False


# Makes an attack on one Synapse.
Strike = Callable[[Attack], Awaitable[None]]


def attacks(users: int, devices: int) -> list[Attack]:
    few, many, edu = MOST_SORTED, _MANY_DEVICES, _IN_EDU
    olm, huge = f"Olm to {many:,} of {devices:,}", f"huge notice, {many:,} devices"
    return [
        Attack(f"{users:,} invented users, `*`", 1, lambda: _users(users)),
        Attack(f"{few} invented users, `*`", _SMALL, lambda: _users(few)),
        Attack(f"{devices:,} invented devices", 1, lambda: _devices(devices)),
        Attack(f"{few} invented devices", _SMALL, lambda: _devices(few)),
        Attack(f"{devices:,} remembered duplicates", 1, lambda: _victim(0, devices)),
        Attack(f"{olm} remembered", _SMALL, lambda: _victim(0, many, _OLM), ENCRYPTED),
        Attack(huge, 1, lambda: _victim(0, many, _HUGE_NOTICE)),
        Attack(f"EDU of {edu:,} messages", 1, lambda: _victim(0, edu), WITHHELD, True),
    ]


def _users(count: int) -> Messages:
    invented = f"@invented{next(_NUMBERS)}-%d:{SERVER_NAME}"
    return {invented % number: {"*": _NOTICE} for number in range(count)}


def _devices(count: int) -> Messages:
    invented = f"INVENTED{next(_NUMBERS)}-%d"
    return {_VICTIM: {invented % number: _NOTICE for number in range(count)}}


def _victim(begin: int, end: int, what: Any = _NOTICE) -> Messages:
    return {_VICTIM: {f"MANY{number}": what for number in range(begin, end)}}


async def measure(directory: Path, quick: bool) -> None:
    users, devices, rounds = (2_000, 4_000, 1) if quick else (100_000, 20_000, 3)
    remote = RemoteServer()
    try:
        async with lanes(directory) as both:
            on = [(lane, await _attacker(lane, remote, devices)) for lane in both]
            rows = [await _row(rounds, on, each) for each in attacks(users, devices)]
    finally:
        await remote.stop()
    show("Hostile requests", rows, _HOW.format(rounds))


async def _attacker(lane: Lane, remote: RemoteServer, devices: int) -> Strike:
    """Have the module remember a notice for each device; return how to attack."""
    homeserver = lane.homeserver
    attacker = await homeserver.register("attacker", device_id="ATTACKER")
    await homeserver.register("victim")
    homeserver.query(_ADD_DEVICES, (_VICTIM, devices - 1))

    async def strike(attack: Attack) -> None:
        kind, messages = attack.kind, attack.messages()
        if attack.is_from_abroad:
            sender = remote.user("attacker")
            status, _ = await remote.send_edu(homeserver, sender, kind, messages)
        else:
            status = await attacker.send_to_device(kind, messages)
        assert status == 200, status

    for begin in range(0, devices, MOST_SORTED):
        some = _victim(begin, min(begin + MOST_SORTED, devices))
        assert await attacker.send_to_device(WITHHELD, some) == 200
        await lane.rest()
    return strike


async def _row(
    rounds: int, on: list[tuple[Lane, Strike]], attack: Attack
) -> dict[str, object]:
    for _, strike in on:
        # What happens only the first time is none of the matter.
        await strike(attack)
    costs = [
        [await _cost(lane, strike, attack) for lane, strike in on]
        for _ in range(rounds)
    ]
    least = [[min(each) for each in zip(*found)] for found in zip(*costs)]
    row: dict[str, object] = {"one request, ms": attack.name}
    for what, stock, module in zip(("processor", "busy"), *least):
        told = {"stock": stock, "module": module, "ratio": module / stock}
        row.update({f"{what}, {key}": value for key, value in told.items()})
    return row


async def _cost(lane: Lane, strike: Strike, attack: Attack) -> tuple[float, float]:
    """Attack so many times for the processor, and once for how busy Synapse was."""

    async def weighed() -> int:
        for _ in range(attack.times):
            await strike(attack)
        return attack.times

    cpu_ms = 1000 * (await lane.each(weighed)).cpu_s
    say(f"  {attack.name}, {lane.name}: {cpu_ms:.0f} ms")
    async with lane.asked("/_matrix/client/versions", gap_s=GAP_S) as somebody:
        await pause(STARTED_WITHIN_S)
        began_s = time.monotonic()
        await strike(attack)
        await pause(AFTERWARDS_S)
        while await lane.homeserver.to_do():
            await pause(1)
    busy_s = [a.worked_s for a in answers(somebody.output) if a.ended_s >= began_s]
    return cpu_ms, 1000 * max(busy_s)
