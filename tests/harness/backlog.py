"""Mailboxes full of notices, and which of their rows a sweep must leave."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Tuple

from synapse_withheld.database.backlog import BacklogRow, Place
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import INBOX, Queue
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Asker
from tests.harness.messages import PLAIN, WITHHELD, make_message, make_notice
from tests.model.redundancy import goes

# Rows by their place: their texts.
Table = Mapping[Tuple[str, str, int], str]


def notice(sender_key: str = "key", device: str | None = "DEV", **more: Any) -> str:
    return text_of("@s:hs", WITHHELD, make_notice(sender_key, device, **more))


def other() -> str:
    return text_of("@s:hs", PLAIN, {"body": "hello"})


def text_of(sender: str, message_type: str, content: dict[str, Any]) -> str:
    message = make_message(sender, content, message_type)
    return json.dumps(message, separators=(",", ":"))


def must_stay(rows: Table) -> set[Place]:
    """Return what is to stay, told plainly: each row is held against each later one."""
    told = {place: json.loads(text) for place, text in rows.items()}

    def is_covered(place: Place) -> bool:
        # Nobody saw the later one arrive: who knows whether its sender sent it.
        return told[place]["content"].get("code") == "m.no_olm" and any(
            other[:2] == place[:2]
            and other[2] > place[2]
            and goes(told[place], told[other], merge_scopes=True, newer_seen=False)
            for other in rows
        )

    return {place for place in rows if not is_covered(place)}


class FakeRows(Database):
    """The table, in memory, as the sweep sees it.

    Attributes:
        hidden_from: From which position on readers do not see the stream yet.
        failing: How often deletions fail from now on.
        doubles: Rows at places that others have too.
    """

    def __init__(self, table: Table) -> None:
        self.table = dict(table)
        self.doomed_mailboxes: set[MailboxKey] = set()
        self.hidden_from = 10**9
        self.failing = 0
        self.doubles: dict[Place, str] = {}

    async def settled(self) -> int:
        return self.hidden_from - 1

    async def read(self, before: Place | None, limit: int) -> list[BacklogRow]:
        places = (*self.table, *self.doubles)
        left = [each for each in places if before is None or each < before]
        read = sorted(left, reverse=True)[:limit]
        return [
            (*each, (self.doubles if each == after else self.table)[each])
            for each, after in zip(read, [None, *read])
        ]

    async def gone(self, askers: Iterable[Asker]) -> set[Asker]:
        del askers  # all their devices exist
        return set()

    async def doomed(self, mailboxes: Iterable[MailboxKey]) -> set[MailboxKey]:
        return self.doomed_mailboxes & set(mailboxes)

    async def delete(
        self, superseded: Iterable[Superseded], queue: Queue = INBOX
    ) -> int:
        del queue  # the sweep is about one only
        if self.failing:
            self.failing -= 1
            raise ConnectionError("as asked for")
        gone = [
            (*row.mailbox, row.stream_id)
            for row in superseded
            if (*row.mailbox, row.newer_stream_id) in self.table
            and row.newer_stream_id > row.stream_id
            and row.mailbox not in self.doomed_mailboxes
        ]
        return len([self.table.pop(each) for each in gone if each in self.table])
