"""Learn all mailboxes of users, where something was sent to all of their devices."""

from __future__ import annotations

from typing import Callable

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.delivery.shares import Chore, Piece, Work
from synapse_withheld.memory.memory import Mailbox, Memory
from synapse_withheld.rules.redundant import Row

# How many devices of one user are learned after a message to all of them, and of how
# many users one statement reads them: most have a few.
MOST_DEVICES = 1000
MOST_USERS = 50


@attrs.define(eq=False)
class _User(Piece):
    """A user, and a row that was stored for all devices just now, if that is known."""

    user_id: str
    row: Row | None


@attrs.define(eq=False)
class LearningOfUsers(Chore):
    """Users to all of whose devices something was sent.

    Attributes:
        learn: Called with a mailbox that was opened, and on whose behalf.
        stream_token: The position up to which readers see the stream.
    """

    memory: Memory
    database: Database
    learn: Callable[[Mailbox, str, Row | None], None]
    stream_token: Callable[[], int]
    _users: Work[_User] = attrs.field(factory=Work, init=False)
    _queued: set[str] = attrs.field(factory=set, init=False)

    def __len__(self) -> int:
        return len(self._users)

    def add(self, user_id: str, who: str, row: Row | None) -> None:
        if row is not None:
            # By the time that mailboxes are opened, devices may have been handed it.
            self.memory.vanishing.note_for_all(user_id, row)
        user = _User(who, user_id, row)
        if user_id not in self._queued and self._users.queue(user):
            self._queued.add(user_id)

    async def do_some(self) -> None:
        """Look up the devices of some users, and open what is not remembered."""
        taken = self._users.take_some(MOST_USERS)
        answer = self.database.read_devices([user.user_id for user in taken])
        devices = await self._users.asking(taken, answer, self._end)
        for user in taken:
            self._end(user)
            for device_id in devices.get(user.user_id, [])[:MOST_DEVICES]:
                key = (user.user_id, device_id)
                if self.memory.peek(key) is None:
                    mailbox = self.memory.open(key, self.stream_token())
                    self.learn(mailbox, user.who, user.row)

    def _end(self, user: _User) -> None:
        self._queued.discard(user.user_id)
