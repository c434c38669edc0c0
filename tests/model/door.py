"""Where Synapse hands batches over: what came in, and what went on to be stored.

It holds I2 of `docs/design.md`: what is no notice passes as it is, a batch is written
once, nothing waits for long, and nothing of a sender overtakes what waits.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Tuple

import attrs
from twisted.internet.defer import Deferred, ensureDeferred

from synapse_withheld.delivery.traffic import Traffic
from tests.model.homeserver import Edus, Local, ModelHomeserver
from tests.model.redundancy import is_notice
from tests.model.tables import Place

# The longest that a batch may wait, in seconds; timers may be a little late.
LONGEST_WAIT_S = 1.0 + 1e-6

# Origin and message ID of an inbound EDU.
Inbound = Tuple[str, str]


@attrs.define(eq=False)
class Batch:
    """Messages of one sender and type, and what became of them.

    Numbers of events tell what was before what.

    Attributes:
        said: The content for each device, `*` as it is.
        came: When it came; `handed`, when it was handed on, and `ended` likewise.
        came_s: When it came, in seconds; `handed_s` likewise.
        waited: Whether it was not handed on in the turn in which it came.
        loaded: When the module was loaded that it came to.
        left_out: For whom nothing was handed on.
        stream_id: At which it was stored, 0 if not at all.
        answer: What Synapse waits for.
    """

    sender: str
    message_type: Any
    local: Local
    edus: Edus
    inbound: Inbound | None = None
    said: dict[Place, Any] = attrs.Factory(dict)
    came: int = 0
    handed: int | None = None
    ended: int | None = None
    came_s: float = 0.0
    handed_s: float = 0.0
    waited: bool = False
    loaded: int = 0
    left_out: set[Place] = attrs.Factory(set)
    stream_id: int = 0
    answer: Deferred[Any] = attrs.Factory(Deferred)

    @property
    def users(self) -> set[str]:
        """Return whom it is for."""
        return {user_id for user_id, _ in self.said}

    @property
    def is_spoofed(self) -> bool:
        """Say whether a server speaks for users of another one."""
        return self.inbound is not None and not self.sender.endswith(
            f":{self.inbound[0]}"
        )

    def content_for(self, place: Place) -> Any:
        """Return what it says to a device, `None` if nothing."""
        if place in self.said:
            return self.said[place]
        everybody = (place[0], "*")
        return self.said.get(everybody) if self._is_for_all(place[0]) else None

    def message_for(self, place: Place) -> dict[str, Any] | None:
        """Return the message that a device gets of it."""
        content = self.content_for(place)
        if content is None:
            return None
        return {"content": content, "type": self.message_type, "sender": self.sender}

    def is_left_out(self, place: Place) -> bool:
        """Say whether a device got nothing of it that it was to get."""
        return place in self.left_out or (
            (place[0], "*") in self.left_out and self._is_for_all(place[0])
        )

    def _is_for_all(self, user_id: str) -> bool:
        return [device for user, device in self.said if user == user_id] == ["*"]


def local_batch(
    sender: str,
    message_type: Any,
    contents: dict[Place, Any],
    inbound: Inbound | None = None,
) -> Batch:
    """Return a batch for devices of this server."""
    local: dict[str, dict[str, dict[str, Any]]] = {}
    for (user_id, device_id), content in contents.items():
        message = {"content": content, "type": message_type, "sender": sender}
        local.setdefault(user_id, {})[device_id] = message
    return Batch(sender, message_type, local, {}, inbound)


def remote_batch(sender: str, message_type: Any, contents: dict[Place, Any]) -> Batch:
    """Return a batch for devices of other servers: an EDU for each."""
    edus: dict[str, dict[str, Any]] = {}
    for (user_id, device_id), content in contents.items():
        server = user_id.partition(":")[2]
        edu = {"messages": {}, "sender": sender, "type": message_type}
        by_user = edus.setdefault(server, edu)["messages"]
        by_user.setdefault(user_id, {})[device_id] = content
    for edu in edus.values():
        edu["message_id"] = str(id(edu))
    return Batch(sender, message_type, {}, edus)


class Door:
    """What passes batches on to the module, and stores what comes out.

    Attributes:
        batches: All that came, in order.
        handed_on: All that was handed on, in order.
        wrong: What must not happen and did.
        loaded: When the module was loaded.
    """

    def __init__(self, hs: ModelHomeserver) -> None:
        self.hs = hs
        self.batches: list[Batch] = []
        self.handed_on: list[Batch] = []
        self.wrong: list[str] = []
        self.loaded = 0
        self._waiting: list[Batch] = []
        self._time = 0

    def tick(self) -> int:
        """Return the number of the next event."""
        self._time += 1
        return self._time

    def begin(self, traffic: Traffic, batch: Batch) -> Batch:
        """Hand a batch to the module; the test takes its steps."""
        batch.said, batch.loaded = _said(batch.local, batch.edus), self.loaded
        batch.came, batch.came_s = self.tick(), self.hs.clock.seconds()
        self.batches.append(batch)
        self._waiting.append(batch)
        batch.answer = ensureDeferred(self._store(traffic, batch))
        batch.waited = batch.handed is None
        return batch

    def check(self) -> None:
        """Assert that nothing went wrong, and that nothing waits too long."""
        assert [] == self.wrong
        now_s = self.hs.clock.seconds()
        assert [] == [b for b in self._waiting if now_s > b.came_s + LONGEST_WAIT_S]

    async def _store(self, traffic: Traffic, batch: Batch) -> Any:
        async def write(local: Any, edus: Any) -> Any:
            self._hand_on(batch, local, edus)
            if not local and not edus and batch.inbound is None:
                return self.hs.stream_token()
            batch.stream_id = self.hs.next_stream_id
            return await self.hs.store(local, edus, batch.inbound)

        origin = batch.inbound[0] if batch.inbound else None
        result = await traffic.store(batch.local, batch.edus, write, origin)  # type: ignore[arg-type]
        batch.ended = self.tick()
        return result

    def _hand_on(self, batch: Batch, local: Any, edus: Any) -> None:
        if batch.handed is not None:
            self.wrong.append(f"written twice: {batch}")
            return
        self._waiting.remove(batch)
        batch.handed, batch.handed_s = self.tick(), self.hs.clock.seconds()
        self.handed_on.append(batch)
        kept = _said(local, edus)
        batch.left_out = batch.said.keys() - kept.keys()
        self._check_kept(batch, kept)
        users = {user_id for user_id, _ in kept}
        for earlier in self._waiting:
            if (
                earlier.came < batch.came
                and earlier.sender == batch.sender
                and earlier.users & users
                and not batch.is_spoofed
            ):
                self.wrong.append(f"{batch} overtakes {earlier}")

    def _check_kept(self, batch: Batch, kept: dict[Place, Any]) -> None:
        """What is handed on is what came without notices, in the same order."""
        expected = [
            (place, id(content))
            for place, content in batch.said.items()
            if place not in batch.left_out
        ]
        if expected != [(place, id(content)) for place, content in kept.items()]:
            self.wrong.append(f"not what came: {kept} of {batch}")
        for place in batch.left_out:
            if not is_notice(batch.message_type, batch.said[place]):
                self.wrong.append(f"no notice, and left out: {place} of {batch}")
        left = Counter(user_id for user_id, _ in kept)
        before = Counter(user_id for user_id, _ in batch.said)
        for user_id, device_id in kept:
            if device_id == "*" and left[user_id] == 1 < before[user_id]:
                self.wrong.append(f"a lone wildcard made of {batch}")


def _said(local: Local, edus: Edus) -> dict[Place, Any]:
    said = {
        (user_id, device_id): message["content"]
        for user_id, by_device in local.items()
        for device_id, message in by_device.items()
    }
    for edu in edus.values():
        for user_id, by_device in edu["messages"].items():
            for device_id, content in by_device.items():
                said[user_id, device_id] = content
    return said
