"""The one play in which a device does not hear that a request was taken back.

Its ID is used again after the memory forgot that it had been handed out, and nothing in
the mailbox told of it. No memory can know that it was: the device may keep what was
asked first.
"""

from __future__ import annotations

from typing import Any, Callable

import attrs

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.mailbox import MailboxKey
from tests.model.client import KEY_REQUEST, SECRET_REQUEST

# As a client names what it is asked for.
Request = tuple[str, ...]
Rows = list[tuple[int, dict[str, Any]]]


def request_of(message: dict[str, Any]) -> Request | None:
    """Return what a message asks for; `None` for others and for cancellations."""
    kind, content = message["type"], message["content"]
    if kind not in {KEY_REQUEST, SECRET_REQUEST} or content["action"] != "request":
        return None
    device = content["requesting_device_id"]
    return (message["sender"], device, kind, content["request_id"])


@attrs.define
class Exempt:
    """Requests that were handed out, and of which of them nobody can know any more.

    Attributes:
        handed: By mailbox: up to which stream ID each request was handed out.
        forgotten: What was handed out that the memory may not know of any more.
        reused: By mailbox: what is exempt.
    """

    handed: dict[MailboxKey, dict[Request, int]] = attrs.Factory(dict)
    forgotten: set[tuple[MailboxKey, Request]] = attrs.Factory(set)
    reused: dict[MailboxKey, set[Request]] = attrs.Factory(dict)

    def watch(self, memory: Memory) -> None:
        """Note what a new memory forgets; it knows nothing yet."""
        for key in self.handed:
            self._forget(key)
        mailboxes = memory
        forget, lose = mailboxes.forget, mailboxes._lose

        def forget_and_tell(key: MailboxKey) -> None:
            self._forget(key)
            forget(key)

        def lose_and_tell(mailbox: Mailbox, record: Record) -> None:
            self._forget(mailbox.key)
            lose(mailbox, record)

        mailboxes.forget = forget_and_tell  # type: ignore[method-assign]
        mailboxes._lose = lose_and_tell  # type: ignore[method-assign]

    def hand_out(self, memory: Memory, key: MailboxKey, rows: Rows) -> None:
        """Note that a device is given some rows."""
        mailbox = memory.peek(key)
        handed = self.handed.setdefault(key, {})
        for at, message in rows:
            asked = request_of(message)
            if asked is not None:
                handed[asked] = max(at, handed.get(asked, 0))
                if mailbox is None or not mailbox.learned:
                    self.forgotten.add((key, asked))

    def note(self, memory: Memory, visible: Callable[[MailboxKey], Rows]) -> None:
        """Note what nobody can know any more."""
        for key, asked in list(self.forgotten):
            up_to = self.handed[key][asked]
            mailbox = memory.peek(key)
            if not any(
                request_of(message) == asked
                for at, message in visible(key)
                if at <= up_to
            ):
                self.reused.setdefault(key, set()).add(asked)
            elif mailbox is not None and mailbox.learned:
                self.forgotten.discard((key, asked))

    def _forget(self, key: MailboxKey) -> None:
        self.forgotten |= {(key, asked) for asked in self.handed.get(key, ())}
