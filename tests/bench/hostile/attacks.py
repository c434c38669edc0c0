"""Requests that are as large as Synapse lets them be, to hurt whoever else is there."""

from __future__ import annotations

from itertools import count
from typing import Any, Awaitable, Callable

import attrs

from synapse_withheld.delivery.sorting import MOST_SORTED
from tests.bench.instruments.lanes import Lane
from tests.bench.instruments.people import SENDER_DEVICE, SENDER_KEY, content
from tests.bench.sizes import Sizes
from tests.harness.client import Client
from tests.harness.messages import ENCRYPTED, WITHHELD, make_notice
from tests.harness.servers.remote import RemoteServer

OK = 200

# So that 1,000 of them fit into a request.
_HUGE = 40_000
_MANY_DEVICES, _IN_EDU = 1_000, 3_600
_SMALL = 10

_NUMBERS = count()
_NOTICE = content(WITHHELD)


@attrs.define
class Scene:
    """Who is there to attack, and to be attacked.

    Attributes:
        attacker: Sends whatever a local user can.
        victim: Has many devices, all but one of them away for good.
        devices: Their IDs.
        remote: Another server, which sends whatever it wants.
    """

    lane: Lane
    sizes: Sizes
    attacker: Client
    victim: Client
    devices: list[str]
    remote: RemoteServer

    @classmethod
    async def on(cls, lane: Lane, sizes: Sizes, remote: RemoteServer) -> Scene:
        attacker = await lane.homeserver.register("attacker", device_id=SENDER_DEVICE)
        victim = await lane.homeserver.register("victim", device_id="AWAY")
        devices = lane.add_devices(victim, sizes.duplicates)
        return cls(lane, sizes, attacker, victim, devices, remote)

    async def send(
        self, messages: dict[str, dict[str, Any]], message_type: str = WITHHELD
    ) -> None:
        status = await self.attacker.send_to_device(message_type, messages)
        assert status == OK, status

    def to_victim(self, devices: list[str], what: Any) -> dict[str, dict[str, Any]]:
        return {self.victim.user_id: dict.fromkeys(devices, what)}


@attrs.frozen
class Attack:
    """One way to hurt.

    Attributes:
        strike: Makes one request.
        prepare: Comes before the first of them.
        times: How many requests are weighed together: one that is small is lost in
            what others do on the machine.
    """

    name: str
    strike: Callable[[Scene], Awaitable[None]]
    prepare: Callable[[Scene], Awaitable[None]] | None = None
    times: int = 1


async def _invent_users(scene: Scene, users: int) -> None:
    invented = f"@invented{next(_NUMBERS)}-%d:{scene.lane.homeserver.server_name}"
    notice = {"*": _NOTICE}
    await scene.send({invented % number: notice for number in range(users)})


async def _invent_devices(scene: Scene, devices: int) -> None:
    number = next(_NUMBERS)
    invented = [f"INVENTED{number}-{device}" for device in range(devices)]
    await scene.send(scene.to_victim(invented, _NOTICE))


async def _remember(scene: Scene) -> None:
    for begin in range(0, len(scene.devices), MOST_SORTED):
        some = scene.devices[begin : begin + MOST_SORTED]
        await scene.send(scene.to_victim(some, _NOTICE))
        await scene.lane.at_rest()


async def _repeat(scene: Scene) -> None:
    await scene.send(scene.to_victim(scene.devices, _NOTICE))


def _huge() -> dict[str, Any]:
    reason = "".join(f"{number:08x}" for number in range(_HUGE // 8))
    return make_notice(SENDER_KEY, "HUGE", reason=reason)


async def _send_huge(scene: Scene) -> None:
    await scene.send(scene.to_victim(scene.devices[:_MANY_DEVICES], _huge()))


async def _send_huge_to_all(scene: Scene) -> None:
    number = next(_NUMBERS)
    other = await scene.lane.homeserver.register(f"all{number}", device_id="AWAY")
    scene.lane.add_devices(other, _MANY_DEVICES)
    await scene.send({other.user_id: {"*": _huge()}})


async def _send_edu(scene: Scene) -> None:
    messages = scene.to_victim(scene.devices[:_IN_EDU], _NOTICE)
    sender = scene.remote.user("attacker")
    status, _ = await scene.remote.send_edu(
        scene.lane.homeserver, sender, WITHHELD, messages
    )
    assert status == OK, status


async def _send_olm(scene: Scene) -> None:
    devices = scene.devices[:_MANY_DEVICES]
    await scene.send(scene.to_victim(devices, content(ENCRYPTED)), ENCRYPTED)


def attacks(sizes: Sizes) -> list[Attack]:
    """Return all attacks, in the order in which they can be played."""
    devices = sizes.duplicates
    many, in_edu = min(_MANY_DEVICES, devices), min(_IN_EDU, devices)
    # Of what is small many are weighed together.
    few, times = MOST_SORTED, _SMALL
    return [
        _invented(f"{sizes.users:,} invented users, `*`", _invent_users, sizes.users),
        _invented(f"{few:,} invented users, `*`", _invent_users, few, times),
        _invented(f"{devices:,} invented devices", _invent_devices, devices),
        _invented(f"{few:,} invented devices", _invent_devices, few, times),
        Attack(f"{devices:,} remembered duplicates", _repeat, _remember),
        Attack(f"Olm to {many:,} of {devices:,} remembered", _send_olm, times=times),
        Attack(f"huge notice, {many:,} devices by name", _send_huge, _send_huge),
        Attack(f"huge notice, {many:,} devices by `*`", _send_huge_to_all),
        Attack(f"EDU of {in_edu:,} messages", _send_edu, _send_edu),
    ]


def _invented(
    name: str,
    invent: Callable[[Scene, int], Awaitable[None]],
    many: int,
    times: int = 1,
) -> Attack:
    return Attack(name, lambda scene: invent(scene, many), times=times)
