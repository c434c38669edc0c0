"""A batch that Synapse hands over, and what goes on of it to be stored."""

from __future__ import annotations

from typing import Any, Tuple

import attrs
from twisted.internet.defer import Deferred

from synapse_withheld.rules.identifiers import server_of
from tests.model.redundancy import is_notice
from tests.model.tables import Edus, Local, Place

# Origin and message ID of an inbound EDU.
Inbound = Tuple[str, str]

# What is said to each device, `*` as it is.
Said = dict[Place, Any]


@attrs.define(eq=False)
class Batch:
    """Messages of one sender and type, and what became of them.

    Numbers of events tell when it came, was handed on and stored, and when the module
    was loaded that it came to.

    Attributes:
        waited: Whether it was not handed on in the turn in which it came.
        left_out: For whom nothing was handed on.
        stream_id: At which it was stored, 0 if not at all.
        answer: What Synapse waits for.
    """

    sender: str
    message_type: Any
    said: Said
    inbound: Inbound | None
    loaded: int
    came: int
    came_s: float
    local: dict[str, Any] = attrs.field(init=False, factory=dict)
    edus: dict[str, Any] = attrs.field(init=False, factory=dict)
    handed: int | None = None
    handed_s: float = 0.0
    ended: int | None = None
    waited: bool = False
    left_out: set[Place] = attrs.Factory(set)
    stream_id: int = 0
    answer: Deferred[Any] = attrs.Factory(Deferred)

    def __attrs_post_init__(self) -> None:
        head = {"type": self.message_type, "sender": self.sender}
        for (user_id, device_id), content in self.said.items():
            server = server_of(user_id)
            if server == "here":
                message = {"content": content, **head}
                self.local.setdefault(user_id, {})[device_id] = message
            else:
                edu = {"messages": {}, "message_id": str(id(self)), **head}
                by_user = self.edus.setdefault(server, edu)["messages"]
                by_user.setdefault(user_id, {})[device_id] = content
        self.said = said_in(self.local, self.edus)

    @property
    def users(self) -> set[str]:
        return {user_id for user_id, _ in self.said}

    @property
    def is_spoofed(self) -> bool:
        """Say whether a server speaks for users of another one."""
        return self.inbound is not None and self.inbound[0] != server_of(self.sender)

    def message_for(self, place: Place) -> dict[str, Any] | None:
        """Return the message that a device gets of it."""
        if place not in self.said:
            if devices_in(self.said, place[0]) != ["*"]:
                return None
            place = (place[0], "*")
        head = {"type": self.message_type, "sender": self.sender}
        return {"content": self.said[place], **head}

    def hand_on(self, local: Local, edus: Edus) -> str | None:
        """Take what is handed on: all but notices, in its order.

        Returns:
            What is wrong with it.
        """
        kept = said_in(local, edus)
        self.left_out = self.said.keys() - kept.keys()
        left = [(at, id(said)) for at, said in self.said.items() if at in kept]
        if left != [(at, id(said)) for at, said in kept.items()]:
            return f"not what came: {kept}"
        for place in self.left_out:
            if not is_notice(self.message_type, self.said[place]):
                return f"no notice, and left out: {place}"
            if devices_in(kept, place[0]) == ["*"]:
                return "made for all devices of a user"
        return None


def said_in(local: Local, edus: Edus) -> Said:
    """Return what messages and EDUs say."""
    said = {
        (user_id, device_id): message["content"]
        for user_id, by_device in local.items()
        for device_id, message in by_device.items()
    }
    for edu in edus.values():
        for user_id, by_device in edu["messages"].items():
            said |= {(user_id, device): each for device, each in by_device.items()}
    return said


def devices_in(said: Said, user_id: str) -> list[str]:
    """Return the devices of a user to which something is said."""
    return [device for user, device in said if user == user_id]
