"""What the rule promises, written without a look at the module.

Plain lists of what was sent to each device and when; no index, no watch. The names
I1, I2, I3 are those of `docs/design.md`.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Tuple

import attrs

# (user ID, device ID)
Place = Tuple[str, str]

# By stream ID.
Rows = Dict[int, Dict[str, Any]]

WITHHELD = ["m.room_key.withheld", "org.matrix.room_key.withheld"]
OLM = "m.room.encrypted"


@attrs.define(eq=False)
class Sent:
    """One request: what it carried, and when it began and ended.

    Attributes:
        user_id: Whom it is for.
        device_ids: Which devices of the user; `*` for all.
        began: When it began, as a number of events; `ended` likewise.
        began_s: When it began, in seconds.
        stream_id: Where it was stored, 0 if not at all.
        stored_for: The devices that were left of `device_ids` when it was stored.
        seen: What was queued for each device while it was under way.
        before: The stream IDs that were in the database when it began.
    """

    sender: str
    message_type: str
    content: dict[str, Any]
    user_id: str
    device_ids: list[str]
    began: int
    began_s: float
    ended: int | None = None
    stream_id: int = 0
    stored_for: list[str] = attrs.Factory(list)
    seen: dict[Place, set[int]] = attrs.Factory(dict)
    before: set[int] = attrs.Factory(set)

    def is_for(self, place: Place) -> bool:
        """Say whether it was sent to a device."""
        return place[0] == self.user_id and _names(self.device_ids, place[1])

    def was_stored_for(self, place: Place) -> bool:
        """Say whether it was stored for a device."""
        return self.stream_id != 0 and _names(self.stored_for, place[1])

    @property
    def is_notice(self) -> bool:
        """Say whether it may collapse at all."""
        return self.message_type in WITHHELD


@attrs.define
class Reference:
    """Everything that was sent, read and changed.

    Attributes:
        hold_s: How long a delivered notice stands for later ones; 0 for not.
        gone_s: When what was queued for each device was acknowledged.
        changes: When each device changed, as numbers of events.
        acknowledged: Up to which stream ID each device has acknowledged.
    """

    merge_scopes: bool
    hold_s: float
    sent: list[Sent] = attrs.Factory(list)
    gone_s: dict[tuple[Place, int], float] = attrs.Factory(dict)
    changes: dict[Place, list[int]] = attrs.Factory(dict)
    acknowledged: dict[Place, int] = attrs.Factory(dict)

    def pair(self, message: dict[str, Any]) -> tuple[Any, ...] | None:
        """Return whose notice a message is, `None` if it is none."""
        content = message["content"]
        if message["type"] not in WITHHELD:
            return None
        device = ("d", content["from_device"]) if "from_device" in content else None
        scope = None if self.merge_scopes else content.get("session_id")
        return (
            message["sender"],
            message["type"],
            device or ("k", content["sender_key"]),
            scope,
        )

    def check_queued(self, place: Place, rows: Rows) -> None:
        """I2: whatever is not a notice is there, byte for byte, in order."""
        expected = [
            (request.stream_id, request.content)
            for request in sorted(self.sent, key=lambda each: each.stream_id)
            if request.is_for(place)
            and not request.is_notice
            and request.stream_id > self.acknowledged.get(place, 0)
        ]
        assert expected == [
            (stream_id, message["content"])
            for stream_id, message in rows.items()
            if message["type"] not in WITHHELD
        ]

    def check_collapsed(self, place: Place) -> None:
        """I3: the same was queued, or within the hold, and no Olm message since."""
        for request in self.sent:
            collapsed = request.is_for(place) and not request.was_stored_for(place)
            if collapsed and request.is_notice and request.ended is not None:
                assert any(
                    self._stands_for(earlier, request, place) for earlier in self.sent
                ), (place, request)

    def check_deleted(self, before: Rows, left: Rows) -> None:
        """I3: a row is deleted only while a newer one of its pair is there."""
        for stream_id in before.keys() - left.keys():
            pair = self.pair(before[stream_id])
            assert pair is not None
            assert any(
                newer > stream_id and self.pair(message) == pair
                for newer, message in left.items()
            )

    def check_at_rest(self, messages: Iterable[dict[str, Any]]) -> None:
        """I1: at most one notice per pair."""
        pairs = [pair for each in messages if (pair := self.pair(each)) is not None]
        assert len(pairs) == len(set(pairs)), pairs

    def _stands_for(self, earlier: Sent, request: Sent, place: Place) -> bool:
        if not earlier.was_stored_for(place) or not earlier.is_for(place):
            return False
        queued = earlier.stream_id in request.seen[place]
        return (
            self._says_the_same(earlier, request)
            and (queued or self._is_held(earlier, request, place))
            and not any(
                olm.stream_id > earlier.stream_id
                and olm.stream_id in request.before
                and _rearms(olm, place, request)
                for olm in self.sent
            )
        )

    def _is_held(self, earlier: Sent, request: Sent, place: Place) -> bool:
        gone_s = self.gone_s.get((place, earlier.stream_id))
        if not self.hold_s or gone_s is None or earlier.ended is None:
            return False
        changed = any(
            earlier.ended < change < request.began
            for change in self.changes.get(place, ())
        )
        return gone_s >= request.began_s - self.hold_s and not changed

    def _says_the_same(self, earlier: Sent, request: Sent) -> bool:
        if not earlier.is_notice:
            return False
        as_messages = [
            {"sender": each.sender, "type": each.message_type, "content": each.content}
            for each in (earlier, request)
        ]
        return (
            self.pair(as_messages[0]) == self.pair(as_messages[1])
            and earlier.content["sender_key"] == request.content["sender_key"]
            and ("session_id" not in earlier.content or "session_id" in request.content)
        )


def _rearms(olm: Sent, place: Place, notice: Sent) -> bool:
    if olm.message_type != OLM:
        return False
    key = notice.content["sender_key"]
    there = olm.sender == notice.sender and olm.is_for(place)
    back = olm.sender == place[0] and olm.user_id == notice.sender
    return (there and olm.content["sender_key"] == key) or (
        back and key in olm.content["ciphertext"]
    )


def _names(device_ids: list[str], device_id: str) -> bool:
    return device_id in device_ids or "*" in device_ids
