"""What requests that are meant to hurt cost, beside stock: processor, others' waits.

They are as large as Synapse lets them be.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import count
from math import inf
from pathlib import Path
from statistics import median
from typing import Any, Awaitable, Callable

import attrs

from synapse_withheld.delivery.sorting import MOST_SORTED
from tests.bench.asking import answers
from tests.bench.lanes import Lane, two_lanes
from tests.bench.report import ratio, say, show
from tests.harness.client import Client
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import to_do
from tests.harness.waiting import pause

# So that 1,000 of them fit into a request.
_HUGE = "".join(f"{number:08x}" for number in range(5_000))
_MANY_DEVICES, _IN_EDU = 1_000, 3_600
# Of what is small so many are weighed together: one is lost in what others do.
_SMALL = 10

# Between an answer to somebody else and the next request; how long it takes to begin,
# and how long its waits are looked at after the last answer.
GAP_S, STARTED_WITHIN_S, AFTERWARDS_S = 0.01, 1.0, 3.0

_NUMBERS = count()
_KEY = make_key("attacker")
_NOTICE = make_notice(_KEY, "ATTACKER")
_HUGE_NOTICE = make_notice(_KEY, "HUGE", reason=_HUGE)
_OLM = make_olm_lookalike(_KEY, make_key("recipient"), "A" * 700)

_HOW = (
    "The least of {} rounds, in turns. Processor: of Synapse and its database, until "
    "what comes after the answer is over. Then once more, while somebody else asks for "
    f"`/_matrix/client/versions`, every {1000 * GAP_S:.0f} ms: 'wait' is the longest "
    "that an answer took, 'busy' the most processor time that Synapse took during one, "
    "which says more where others run on the machine. Of several requests in a row it "
    "is the median of each one's longest. Wanted: at most 1.5 times stock's."
)

Messages = dict[str, dict[str, Any]]
Strike = Callable[..., Awaitable[None]]
# The processor, the longest wait of somebody else, the most taken during one: seconds.
Cost = tuple[float, float, float]


@attrs.define
class Scene:
    """Who is there to attack, and to be attacked."""

    lane: Lane
    remote: RemoteServer
    attacker: Client
    victim: str
    devices: list[str]  # the victim's, all of them away for good
    fresh: list[str]  # others with many devices, to whom nobody has sent anything

    @classmethod
    async def on(
        cls, lane: Lane, devices: int, rounds: int, remote: RemoteServer
    ) -> Scene:
        """Set it, and have the module remember a notice for each of the devices."""
        register = lane.homeserver.register
        attacker = await register("attacker", device_id="ATTACKER")
        victim, fresh = await register("victim"), []
        for number in range(2 * rounds + 1):
            fresh.append(await register(f"fresh{number}"))
            lane.add_devices(fresh[-1], _MANY_DEVICES)
        many, ids = lane.add_devices(victim, devices), [each.user_id for each in fresh]
        scene = cls(lane, remote, attacker, victim.user_id, many, ids)
        for begin in range(0, devices, MOST_SORTED):
            some = many[begin : begin + MOST_SORTED]
            await scene.send({scene.victim: dict.fromkeys(some, _NOTICE)})
            await lane.rest()
        return scene

    async def send(self, messages: Messages, kind: str = WITHHELD) -> None:
        assert await self.attacker.send_to_device(kind, messages) == 200

    async def send_to(self, count: int, what: Any, kind: str = WITHHELD) -> None:
        await self.send({self.victim: dict.fromkeys(self.devices[:count], what)}, kind)

    async def send_to_all_of_another(self) -> None:
        await self.send({self.fresh.pop(): {"*": _HUGE_NOTICE}})

    async def invent_users(self, count: int) -> None:
        invented = f"@invented{next(_NUMBERS)}-%d:{self.lane.homeserver.server_name}"
        await self.send({invented % number: {"*": _NOTICE} for number in range(count)})

    async def invent_devices(self, count: int) -> None:
        invented = f"INVENTED{next(_NUMBERS)}-%d"
        devices = {invented % number: _NOTICE for number in range(count)}
        await self.send({self.victim: devices})

    async def send_edu(self) -> None:
        messages = {self.victim: dict.fromkeys(self.devices[:_IN_EDU], _NOTICE)}
        sender, homeserver = self.remote.user("attacker"), self.lane.homeserver
        status, _ = await self.remote.send_edu(homeserver, sender, WITHHELD, messages)
        assert status == 200, status


def attacks(users: int, devices: int) -> list[tuple[Any, ...]]:
    """Return what each is called, how many are weighed together, and what to call."""
    few, many = MOST_SORTED, _MANY_DEVICES
    olm, huge = f"Olm to {many:,} of {devices:,}", f"huge notice, {many:,} devices by"
    return [
        (f"{users:,} invented users, `*`", 1, Scene.invent_users, users),
        (f"{few} invented users, `*`", _SMALL, Scene.invent_users, few),
        (f"{devices:,} invented devices", 1, Scene.invent_devices, devices),
        (f"{few} invented devices", _SMALL, Scene.invent_devices, few),
        (f"{devices:,} remembered duplicates", 1, Scene.send_to, devices, _NOTICE),
        (f"{olm} remembered", _SMALL, Scene.send_to, many, _OLM, ENCRYPTED),
        (f"{huge} name", 1, Scene.send_to, many, _HUGE_NOTICE),
        (f"{huge} `*`", 1, Scene.send_to_all_of_another),
        (f"EDU of {_IN_EDU:,} messages", 1, Scene.send_edu),
    ]


async def measure(directory: Path, quick: bool) -> None:
    users, devices, rounds = (2_000, 4_000, 1) if quick else (100_000, 20_000, 3)
    remote = RemoteServer()
    await remote.start()
    try:
        for on_sqlite in (True, False):
            async with two_lanes(directory, on_sqlite=on_sqlite) as lanes:
                on = [await Scene.on(each, devices, rounds, remote) for each in lanes]
                rows = [await _row(rounds, on, *a) for a in attacks(users, devices)]
                title = f"Hostile requests on {lanes[0].driver}"
                show(title, rows, _HOW.format(rounds))
    finally:
        await remote.stop()


async def _row(
    rounds: int, scenes: list[Scene], name: str, times: int, strike: Strike, *how: Any
) -> dict[str, object]:
    costs: list[list[Cost]] = [[], []]
    for scene in scenes:
        # What happens only the first time is none of the matter.
        await strike(scene, *how)
    for _ in range(rounds):
        for scene, found in zip(scenes, costs):
            act = partial(strike, scene, *how)
            found.append(await _cost(scene.lane, times, act))
            ms = 1000 * found[-1][0]
            say(f"  {name}, {scene.lane.name}: {ms:.0f} ms")
    row: dict[str, object] = {"one request, ms": name}
    least = [[min(each) for each in zip(*found)] for found in costs]
    for what, stock, module in zip(("processor", "wait", "busy"), *least):
        row[f"{what}, stock"] = 1000 * stock
        row[f"{what}, module"] = 1000 * module
        row[f"{what}, ratio"] = ratio(module, stock)
    return row


async def _cost(lane: Lane, times: int, strike: Strike) -> Cost:
    """Strike so many times for the processor, and again for the waits of others."""
    starts = []

    async def attack() -> int:
        for _ in range(times):
            starts.append(time.monotonic())
            await strike()
        return times

    each = await lane.each(attack)
    starts.clear()
    async with lane.asked("/_matrix/client/versions", gap_s=GAP_S) as somebody:
        await pause(STARTED_WITHIN_S)
        await attack()
        await pause(AFTERWARDS_S)
        while await to_do(lane.homeserver):
            await pause(1)
    told = answers(somebody.output)
    waits, busy = [], []
    for start, end in zip(starts, [*starts[1:], inf]):
        span = [each for each in told if start <= each.started + each.took < end]
        if not span:
            # It was over before anybody else was answered.
            continue
        waits.append(max(each.took for each in span))
        busy.append(max(each.worked for each in span))
    return each.cpu_s, median(waits), median(busy)
