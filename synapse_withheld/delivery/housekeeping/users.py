"""Learn all mailboxes of users, where something was sent to all of their devices."""

from __future__ import annotations

from typing import Callable

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.delivery.shares import Work
from synapse_withheld.memory.memory import Mailbox, Memory
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.redundant import Row

# How many devices of one user are learned after a message to all of them, and of how
# many users one statement reads them: most have a few.
MOST_DEVICES = 1000
MOST_USERS = 50


@attrs.define(eq=False)
class LearningOfUsers:
    """Users to all of whose devices something was sent.

    Attributes:
        learn: Called with a mailbox that was opened, and on whose behalf.
        stream_token: The position up to which readers see the stream.
    """

    memory: Memory
    database: Database
    learn: Callable[[MailboxKey, Mailbox, str, Row | None], None]
    stream_token: Callable[[], int]
    _users: Work[str] = attrs.field(factory=Work, init=False)
    _queued: dict[str, Row | None] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._users)

    @property
    def is_ready(self) -> bool:
        return bool(self._users)

    def add(self, user_id: str, who: str, row: Row | None) -> None:
        """Queue a user on somebody's behalf, if there is room."""
        if user_id not in self._queued and self._users.add(who, user_id):
            self._queued[user_id] = row

    async def do_some(self) -> None:
        """Look up the devices of some users, and open what is not remembered."""
        taken = self._users.take(MOST_USERS)
        whose = {each.item: each.who for each in taken}
        answer = self.database.read_devices(whose)
        devices = await self._users.asking(taken, answer, self._queued.pop)
        rows = {user_id: self._queued.pop(user_id, None) for user_id in whose}
        for user_id, device_ids in devices.items():
            for device_id in device_ids[:MOST_DEVICES]:
                key = (user_id, device_id)
                if self.memory.peek(key) is None:
                    mailbox = self.memory.open(key, self.stream_token())
                    self.learn(key, mailbox, whose[user_id], rows[user_id])
