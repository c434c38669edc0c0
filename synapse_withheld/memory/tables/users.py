"""What is remembered of recipients: their devices, and who has anything for them."""

from __future__ import annotations

from typing import Dict, Iterator

import attrs

from synapse_withheld.rules.mailbox import MailboxKey


@attrs.define(eq=False, weakref_slot=False)
class User:
    """One recipient.

    Attributes:
        devices: Those whose mailboxes are remembered.
        holds: By sender: how much of theirs is remembered or in flight.
        rearmed: By sender: the number of the last Olm message that re-armed all of it.
    """

    devices: Dict[str, None] = attrs.Factory(dict)
    holds: Dict[str, int] = attrs.Factory(dict)
    rearmed: Dict[str, int] | None = None


class Users:
    """All recipients of whom anything is remembered or for whom anything is in flight.

    The number of an Olm message is kept only as long as there is anything that it
    re-arms.
    """

    def __init__(self) -> None:
        self._users: Dict[str, User] = {}

    def __len__(self) -> int:
        return len(self._users)

    def clear(self) -> None:
        """Forget everybody."""
        self._users.clear()

    def devices(self, user_id: str) -> Iterator[str]:
        """Return the devices of a user whose mailboxes are remembered."""
        user = self._users.get(user_id)
        return iter(() if user is None else user.devices)

    def add_device(self, key: MailboxKey) -> None:
        """Note that a mailbox is remembered."""
        self._user(key[0]).devices[key[1]] = None

    def remove_device(self, key: MailboxKey) -> None:
        """Note that a mailbox is not remembered any more."""
        user_id, device_id = key
        user = self._users[user_id]
        del user.devices[device_id]
        self._tidy(user_id, user)

    def hold(self, user_id: str, sender: str) -> None:
        """Count one more that is remembered or in flight."""
        holds = self._user(user_id).holds
        holds[sender] = holds.get(sender, 0) + 1

    def release(self, user_id: str, sender: str) -> None:
        """Count one less."""
        user = self._users[user_id]
        left = user.holds[sender] - 1
        if left:
            user.holds[sender] = left
            return
        del user.holds[sender]
        if user.rearmed is not None:
            user.rearmed.pop(sender, None)
        self._tidy(user_id, user)

    def rearm(self, user_id: str, sender: str, number: int) -> int:
        """Note an Olm message between two users; return how much it re-arms."""
        user = self._users.get(user_id)
        count = 0 if user is None else user.holds.get(sender, 0)
        if user is not None and count:
            if user.rearmed is None:
                user.rearmed = {}
            user.rearmed[sender] = number
        return count

    def rearmed(self, user_id: str, sender: str) -> int:
        """Return the number of the last Olm message between two users."""
        user = self._users.get(user_id)
        if user is None or user.rearmed is None:
            return 0
        return user.rearmed.get(sender, 0)

    def _user(self, user_id: str) -> User:
        user = self._users.get(user_id)
        if user is None:
            user = self._users[user_id] = User()
        return user

    def _tidy(self, user_id: str, user: User) -> None:
        if not user.devices and not user.holds:
            del self._users[user_id]
