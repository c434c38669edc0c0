"""Requests that are as large as Synapse lets them be, to hurt whoever else is there."""

from __future__ import annotations

from itertools import count
from typing import Any, Awaitable, Callable

import attrs

from synapse_withheld.delivery.sorting import MOST_SORTED
from tests.bench.instruments.synapses import Lane
from tests.bench.sizes import Sizes
from tests.harness.client import Client
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.servers.remote import RemoteServer

# So that 1,000 of them fit into a request.
_HUGE = "".join(f"{number:08x}" for number in range(5_000))
_MANY_DEVICES, _IN_EDU = 1_000, 3_600
# Of what is small so many are weighed together.
_SMALL = 10

_NUMBERS = count()
_KEY = make_key("attacker")
_NOTICE = make_notice(_KEY, "ATTACKER")


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
    attacker: Client
    victim: Client
    devices: list[str]
    remote: RemoteServer

    @classmethod
    async def on(cls, lane: Lane, sizes: Sizes, remote: RemoteServer) -> Scene:
        attacker = await lane.homeserver.register("attacker", device_id="ATTACKER")
        victim = await lane.homeserver.register("victim", device_id="AWAY")
        devices = lane.add_devices(victim, sizes.duplicates)
        return cls(lane, attacker, victim, devices, remote)

    async def send(
        self, messages: dict[str, dict[str, Any]], message_type: str = WITHHELD
    ) -> None:
        status = await self.attacker.send_to_device(message_type, messages)
        assert status == 200, status

    def to_victim(self, devices: list[str], what: Any) -> dict[str, dict[str, Any]]:
        return {self.victim.user_id: dict.fromkeys(devices, what)}

    async def invent_users(self, users: int) -> None:
        invented = f"@invented{next(_NUMBERS)}-%d:{self.lane.homeserver.server_name}"
        await self.send({invented % number: {"*": _NOTICE} for number in range(users)})

    async def invent_devices(self, devices: int) -> None:
        number = next(_NUMBERS)
        invented = [f"INVENTED{number}-{device}" for device in range(devices)]
        await self.send(self.to_victim(invented, _NOTICE))

    async def be_remembered(self) -> None:
        for begin in range(0, len(self.devices), MOST_SORTED):
            some = self.devices[begin : begin + MOST_SORTED]
            await self.send(self.to_victim(some, _NOTICE))
            await self.lane.at_rest()

    async def repeat(self) -> None:
        await self.send(self.to_victim(self.devices, _NOTICE))

    async def send_huge(self) -> None:
        huge = make_notice(_KEY, "HUGE", reason=_HUGE)
        await self.send(self.to_victim(self.devices[:_MANY_DEVICES], huge))

    async def send_huge_to_all(self) -> None:
        name = f"all{next(_NUMBERS)}"
        other = await self.lane.homeserver.register(name, device_id="AWAY")
        self.lane.add_devices(other, _MANY_DEVICES)
        huge = make_notice(_KEY, "HUGE", reason=_HUGE)
        await self.send({other.user_id: {"*": huge}})

    async def send_edu(self) -> None:
        messages = self.to_victim(self.devices[:_IN_EDU], _NOTICE)
        sender = self.remote.user("attacker")
        status, _ = await self.remote.send_edu(
            self.lane.homeserver, sender, WITHHELD, messages
        )
        assert status == 200, status

    async def send_olm(self) -> None:
        olm = make_olm_lookalike(_KEY, make_key("recipient"), "A" * 700)
        devices = self.devices[:_MANY_DEVICES]
        await self.send(self.to_victim(devices, olm), ENCRYPTED)


Act = Callable[[Scene], Awaitable[None]]


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
    strike: Act
    prepare: Act | None = None
    times: int = 1


def attacks(sizes: Sizes) -> list[Attack]:
    """Return all attacks, in the order in which they can be played."""
    users, devices, few = sizes.users, sizes.duplicates, MOST_SORTED
    many, in_edu = min(_MANY_DEVICES, devices), min(_IN_EDU, devices)

    def invent_users(of: int, times: int = 1) -> Attack:
        name = f"{of:,} invented users, `*`"
        return Attack(name, lambda scene: scene.invent_users(of), times=times)

    def invent_devices(of: int, times: int = 1) -> Attack:
        name = f"{of:,} invented devices"
        return Attack(name, lambda scene: scene.invent_devices(of), times=times)

    duplicates, olm = f"{devices:,} remembered duplicates", f"of {devices:,} remembered"
    huge = f"huge notice, {many:,} devices by"
    return [
        invent_users(users),
        invent_users(few, _SMALL),
        invent_devices(devices),
        invent_devices(few, _SMALL),
        Attack(duplicates, Scene.repeat, Scene.be_remembered),
        Attack(f"Olm to {many:,} {olm}", Scene.send_olm, times=_SMALL),
        Attack(f"{huge} name", Scene.send_huge, Scene.send_huge),
        Attack(f"{huge} `*`", Scene.send_huge_to_all),
        Attack(f"EDU of {in_edu:,} messages", Scene.send_edu, Scene.send_edu),
    ]
