"""The people: their devices, and what the clients on these send."""

from __future__ import annotations

import enum
from typing import Any

import attrs

from tests.harness.clients.messages import MEGOLM, OLDER_WITHHELD, WITHHELD
from tests.harness.clients.olm import OlmDevice, OlmSession
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.homeservers.stage import BRIDGED_USERS
from tests.model.client import TRACING

# The name of the other server in the life; each homeserver has one of its own.
OTHER_SERVER = "other.test"

KEY_REQUEST = "m.room_key_request"
SECRET_REQUEST = "m.secret.request"  # noqa: S105 a type
VERIFICATION = "m.key.verification."

CODES = ("m.blacklisted", "m.unverified", "m.unauthorised", "m.unavailable")
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
    SERVICE = "an application service does"
    ABROAD = "its server does"


# Whoever reads so never acknowledges.
NEVER_ACKNOWLEDGE = (Reads.DEHYDRATED, Reads.SERVICE)


@attrs.define(eq=False)
class User:
    """Somebody.

    Attributes:
        name: The localpart.
        server: Of the user ID.
        devices: Those that are logged in.
        dehydrated: One that keeps messages for a device to come.
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
    def is_here(self) -> bool:
        """Say whether it is a user of ours who reads by itself."""
        return self.server == SERVER_NAME and not self.name.startswith(BRIDGED_USERS)

    def reading(self) -> list[Device]:
        """Return all devices that messages are for."""
        return [*self.devices, *([self.dehydrated] if self.dehydrated else ())]


@attrs.define(eq=False)
class Device:
    """A device, from its login until it logs out.

    Attributes:
        born: The number of the step in which it logged in.
        rarely: How many times more rarely than others it reads.
        sent_in_room: How many sessions it had in each room.
        sessions: With which devices it has an Olm session.
    """

    user: User
    device_id: str
    sends: Sends
    reads: Reads
    born: int = 0
    rarely: int = 1
    olm: OlmDevice = attrs.field(init=False)
    rotations: list[int] = attrs.Factory(lambda: [0] * ROOMS)
    sessions: dict[OlmDevice, OlmSession] = attrs.Factory(dict)

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
        """Begin with new keys, and without Olm sessions."""
        self.olm = OlmDevice(self.user.user_id, self.device_id)
        self.sessions = {}

    def notice(self, room: int) -> dict[str, Any]:
        """Return what it sends where it has no Olm session."""
        if self.sends is Sends.RUST:
            return self.olm.notice()
        if self.sends is Sends.LIBOLM:
            return self.olm.notice(from_device=None)
        device_id = self.device_id if self.sends is Sends.ANDROID else None
        return self.olm.notice(from_device=device_id, **self._scope(room))

    def withheld(self, room: int, code: str) -> dict[str, Any]:
        """Return what it sends where it withholds a session."""
        notice = self.notice(room)
        return {**notice, **self._scope(room), "code": code, "reason": code}

    def key_request(self, request_id: str, room: int) -> dict[str, Any]:
        body = {"algorithm": MEGOLM, "sender_key": "whoever", **self._scope(room)}
        return {**self._request(request_id), "body": body}

    def secret_request(self, request_id: str) -> dict[str, Any]:
        return {**self._request(request_id), "name": "m.megolm_backup.v1"}

    def taken_back(self, request_id: str) -> dict[str, Any]:
        """Return the cancellation of a request of either kind."""
        return {**self._request(request_id), "action": "request_cancellation"}

    def encrypted_for(self, other: Device) -> dict[str, Any]:
        """Return a real Olm message."""
        if other.olm not in self.sessions:
            self.sessions[other.olm] = self.olm.establish(other.olm)
        return self.sessions[other.olm].encrypt("a room key")

    def _request(self, request_id: str) -> dict[str, Any]:
        asker = {"requesting_device_id": self.device_id, "request_id": request_id}
        return {"action": "request", **asker}

    def _scope(self, room: int) -> dict[str, Any]:
        session = self.rotations[room] % SESSIONS
        session_id = f"{self.olm.curve25519[:8]} {room} {session}"
        return {"room_id": f"!{room}:{SERVER_NAME}", "session_id": session_id}


def numbered(content: dict[str, Any], number: int) -> dict[str, Any]:
    """Return content that says in which step it was sent, where clients trace it."""
    return {**content, TRACING: str(number)}


def number_of(message: dict[str, Any]) -> int:
    """Return the number of the step in which a message was sent."""
    return int(message["content"][TRACING])


def make_people(here: int, abroad: int, bridged: int) -> list[User]:
    """Return people with their devices, of all kinds."""
    people = [User(f"user{number}") for number in range(here)]
    people += [User(f"other{number}", OTHER_SERVER) for number in range(abroad)]
    people += [User(f"{BRIDGED_USERS}{number}") for number in range(bridged)]
    kinds = list(Sends)
    for number, user in enumerate(people):
        for each in range(3 if user.is_here else 1 + user.server.count(OTHER_SERVER)):
            if user.is_here:
                reads = Reads.SLIDING if each == 1 else Reads.SYNC
            else:
                is_other = user.server == OTHER_SERVER
                reads = Reads.ABROAD if is_other else Reads.SERVICE
            sends = kinds[(number + each) % len(kinds)]
            rarely = (1, 4, 30)[each]
            device = Device(user, f"DEVICE{each}", sends, reads, rarely=rarely)
            user.devices.append(device)
    return people
