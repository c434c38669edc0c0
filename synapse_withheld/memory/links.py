"""What passed between the keys of senders and the users who have their notices.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Dict

import attrs

from synapse_withheld.memory.records import Table

# How many Olm messages are counted. Where there were more, the pairs stay re-armed:
# that costs a write for each notice, and loses none.
MOST_COUNTED = (1 << 25) - 1


@attrs.define(eq=False, weakref_slot=False)
class Links(Table):
    """The keys of which one user has notices, and the Olm messages that passed.

    A record is the place of a key, the number of Olm messages, and how many pairs
    hold it.
    """

    layout: ClassVar[Struct] = Struct("QII")

    @property
    def pairs(self) -> int:
        """Return how many pairs hold any."""
        return sum(memoryview(self._data).cast("I")[3::4]) if self._data else 0

    def hold(self, place: int) -> int:
        """Count one more pair of a key.

        Returns:
            How many Olm messages were counted so far.
        """
        position = self.find(place)
        if position is None:
            self.insert((place, 0, 1))
            return 0
        _, olm_messages, pairs = self.get(position)
        self.put(position, (place, olm_messages, pairs + 1))
        return olm_messages

    def release(self, place: int) -> None:
        """Count one pair of a key less."""
        position = self.find(place)
        if position is None:
            return
        _, olm_messages, pairs = self.get(position)
        if pairs > 1:
            self.put(position, (place, olm_messages, pairs - 1))
        else:
            self.remove(position)

    def count_message(self, place: int) -> int:
        """Count one more Olm message of a key.

        Returns:
            How many pairs it re-arms.
        """
        position = self.find(place)
        if position is None:
            return 0
        _, olm_messages, pairs = self.get(position)
        self.put(position, (place, min(olm_messages + 1, MOST_COUNTED), pairs))
        return pairs

    def passed_since(self, place: int, olm_messages: int) -> bool:
        """Say whether an Olm message passed since so many were counted."""
        position = self.find(place)
        # One that is not held would have missed some.
        now = MOST_COUNTED if position is None else self.get(position)[1]
        return now != olm_messages or now == MOST_COUNTED


class LinksOfUsers(Dict[str, Links]):
    """The links of all users.

    Each is shared by all pairs of a key with the user's devices, so that an Olm message
    re-arms any number of them in one step. Two keys of one sender that share a place
    are re-armed together.
    """

    def hold(self, user_id: str, place: int) -> int:
        """Count one more pair of a key; return how many Olm messages were counted."""
        links = self.get(user_id)
        if links is None:
            links = self[user_id] = Links()
        return links.hold(place)

    def release(self, user_id: str, place: int) -> None:
        """Count one pair of a key less."""
        links = self[user_id]
        links.release(place)
        if not links.count:
            del self[user_id]
