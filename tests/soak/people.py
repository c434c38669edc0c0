"""The people: their devices, and what the clients on these send."""

from __future__ import annotations

import enum
import itertools
from typing import Any

import attrs

from tests.harness.messages import OLDER_WITHHELD, WITHHELD, OlmDevice, OlmSession
from tests.harness.servers.listening import BRIDGE
from tests.harness.servers.settings import SERVER_NAME
from tests.model.client import TRACING

# The other server's name in the life; each homeserver has another one of its own.
OTHER_SERVER = "other.test"
ROOMS, SESSIONS = 2, 4


class Sends(enum.Enum):
    """Which client a device runs: how it says that it has no Olm session."""

    RUST = "unscoped, with its device"
    LIBOLM = "unscoped, without its device, sometimes with the older type"
    ANDROID = "scoped, with its device"
    HYDROGEN = "scoped, with the older type alone"


class Reads(enum.Enum):
    """How a device comes by its messages."""

    SYNC = "sync"
    SLIDING = "sliding sync"
    DEHYDRATED = "each time from the start"
    SERVICE = "an application service reads for it"
    ABROAD = "on another server"


NEVER_ACKNOWLEDGE = (Reads.DEHYDRATED, Reads.SERVICE)


@attrs.define(eq=False)
class User:
    """Somebody.

    Attributes:
        dehydrated: A device that keeps messages for one to come.
        left: Device IDs that logged out, and the numbers of the steps.
    """

    name: str
    server: str = SERVER_NAME
    devices: list[Device] = attrs.Factory(list)
    dehydrated: Device | None = None
    left: list[tuple[str, int]] = attrs.Factory(list)

    @property
    def user_id(self) -> str:
        return f"@{self.name}:{self.server}"

    @property
    def is_abroad(self) -> bool:
        return self.server == OTHER_SERVER

    @property
    def is_here(self) -> bool:
        return not self.is_abroad and not self.name.startswith(BRIDGE)

    def reading(self) -> list[Device]:
        return [*self.devices, *([self.dehydrated] if self.dehydrated else ())]


@attrs.define(eq=False)
class Device:
    """A device, from its login until it logs out.

    Attributes:
        born: The number of the step in which it logged in.
        rarely: How many times more rarely than others it reads.
    """

    user: User
    device_id: str
    sends: Sends
    reads: Reads
    born: int = 0
    rarely: int = 1
    olm: OlmDevice = attrs.field(init=False)
    _rotations: list[int] = attrs.Factory(lambda: [0] * ROOMS)
    _sessions: dict[OlmDevice, OlmSession] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.lose_store()

    @property
    def place(self) -> tuple[str, str, int]:
        """Return what tells it from others, also from earlier ones with its ID."""
        return self.user.user_id, self.device_id, self.born

    @property
    def withheld_type(self) -> str:
        return OLDER_WITHHELD if self.sends is Sends.HYDROGEN else WITHHELD

    def lose_store(self) -> None:
        self.olm = OlmDevice(self.user.user_id, self.device_id)
        self._sessions.clear()

    def rotate(self, room: int) -> None:
        self._rotations[room] += 1

    def notice(self, room: int) -> dict[str, Any]:
        """Return what it sends where it has no Olm session."""
        is_scoped = self.sends in {Sends.ANDROID, Sends.HYDROGEN}
        named = self.device_id if self.sends in {Sends.RUST, Sends.ANDROID} else None
        scope = self.session(room) if is_scoped else {}
        return self.olm.notice(from_device=named, **scope)

    def session(self, room: int) -> dict[str, Any]:
        """Return the name of the Megolm session that it uses in a room."""
        session = self._rotations[room] % SESSIONS
        session_id = f"{self.olm.curve25519[:8]} {room} {session}"
        return {"room_id": f"!{room}:{SERVER_NAME}", "session_id": session_id}

    def encrypted_for(self, other: Device) -> dict[str, Any]:
        if other.olm not in self._sessions:
            self._sessions[other.olm] = self.olm.establish(other.olm)
        return self._sessions[other.olm].encrypt("a room key")


def number_of(message: dict[str, Any]) -> int:
    """Return the number of the step in which a message was sent."""
    return int(message["content"][TRACING])


def make_people(here: int, abroad: int, bridged: int) -> list[User]:
    """Return people with their devices, of all kinds."""
    people = [User(f"user{number}") for number in range(here)]
    people += [User(f"other{number}", OTHER_SERVER) for number in range(abroad)]
    people += [User(f"{BRIDGE}{number}") for number in range(bridged)]
    kinds = itertools.cycle(Sends)
    for user in people:
        ways = [Reads.SYNC, Reads.SLIDING, Reads.SYNC]
        if not user.is_here:
            ways = [Reads.ABROAD] * 2 if user.is_abroad else [Reads.SERVICE]
        for number, (reads, rarely) in enumerate(zip(ways, (1, 4, 30))):
            device_id, sends = f"DEVICE{number}", next(kinds)
            user.devices.append(Device(user, device_id, sends, reads, rarely=rarely))
    return people
