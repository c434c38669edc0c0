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

Content = dict[str, Any]
# A user's ID, a device's, and the number of the step in which it logged in: what tells
# a device from others, also from earlier ones with its ID.
Place = tuple[str, str, int]


class Sends(enum.Enum):
    """Which client a device runs, by how it says that it has no Olm session.

    Whether it names its device, and a Megolm session; and the type.
    """

    RUST = (True, False, WITHHELD)
    # Sometimes with the older type.
    LIBOLM = (False, False, WITHHELD)
    ANDROID = (True, True, WITHHELD)
    HYDROGEN = (False, True, OLDER_WITHHELD)


class Reads(enum.Enum):
    """How a device comes by its messages."""

    SYNC = "sync"
    SLIDING = "sliding sync"
    DEHYDRATED = "each time from the start"
    SERVICE = "an application service reads for it"
    ABROAD = "on another server"


@attrs.define(eq=False)
class User:
    name: str
    server: str = SERVER_NAME
    devices: list[Device] = attrs.Factory(list)
    dehydrated: Device | None = None  # keeps messages for one to come
    # Device IDs that logged out, and the numbers of the steps.
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
    """A device, from its login until it logs out."""

    user: User
    device_id: str
    sends: Sends
    reads: Reads
    born: int = 0  # the number of the step in which it logged in
    rarely: int = 1  # how many times more so than others it reads
    # With new keys even where its ID is an earlier one's.
    olm: OlmDevice = attrs.field(init=False)
    rotations: list[int] = attrs.Factory(lambda: [0] * ROOMS)
    _sessions: dict[OlmDevice, OlmSession] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self.olm = OlmDevice(self.user.user_id, self.device_id)

    @property
    def place(self) -> Place:
        return self.user.user_id, self.device_id, self.born

    def notice(self, room: int) -> Content:
        """Return what it sends where it has no Olm session."""
        names_device, names_session, _ = self.sends.value
        named = self.device_id if names_device else None
        scope = self.session(room) if names_session else {}
        return self.olm.notice(from_device=named, **scope)

    def session(self, room: int) -> Content:
        """Return the name of the Megolm session that it uses in a room."""
        session = self.rotations[room] % SESSIONS
        session_id = f"{self.olm.curve25519[:8]} {room} {session}"
        return {"room_id": f"!{room}:{SERVER_NAME}", "session_id": session_id}

    def encrypted_for(self, other: Device) -> Content:
        if other.olm not in self._sessions:
            self._sessions[other.olm] = self.olm.establish(other.olm)
        return self._sessions[other.olm].encrypt("a room key")


def number_of(message: dict[str, Any]) -> int:
    """Return the number of the step in which a message was sent."""
    return int(message["content"][TRACING])


def make_people(here: int, abroad: int, bridged: int) -> list[User]:
    kinds, people = itertools.cycle(Sends), []
    for name, server, count, ways in (
        ("user", SERVER_NAME, here, [Reads.SYNC, Reads.SLIDING, Reads.SYNC]),
        ("other", OTHER_SERVER, abroad, [Reads.ABROAD] * 2),
        (BRIDGE, SERVER_NAME, bridged, [Reads.SERVICE]),
    ):
        for user in (User(f"{name}{number}", server) for number in range(count)):
            people.append(user)
            for number, (reads, rarely) in enumerate(zip(ways, (1, 4, 30))):
                how = f"DEVICE{number}", next(kinds), reads
                user.devices.append(Device(user, *how, rarely=rarely))
    return people
