"""Mailboxes full of notices, and which of their rows a sweep must leave."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping, Tuple

from synapse_withheld.database.backlog import BacklogRow, Place
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import INBOX, Queue
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Asker
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Options
from tests.harness.clients.messages import PLAIN, WITHHELD, make_message, make_notice

# Rows by their place: their texts.
Table = Mapping[Tuple[str, str, int], str]


def notice(sender_key: str = "key", device: str | None = "DEV", **more: Any) -> str:
    return text_of("@s:hs", WITHHELD, make_notice(sender_key, device, **more))


def other() -> str:
    return text_of("@s:hs", PLAIN, {"body": "hello"})


def text_of(sender: str, message_type: str, content: dict[str, Any]) -> str:
    message = make_message(sender, content, message_type)
    return json.dumps(message, separators=(",", ":"))


def must_stay(
    rows: Table, options: Options, doomed: Iterable[MailboxKey] = ()
) -> set[Place]:
    """Return what is to stay, told plainly: each row is held against each later one."""
    told = {place: json.loads(text) for place, text in rows.items()}

    def covered(place: Place) -> bool:
        return any(
            other[:2] == place[:2]
            and other[2] > place[2]
            and _says_all_of(told[other], told[place], options)
            for other in rows
        )

    return {place for place in rows if place[:2] in set(doomed) or not covered(place)}


def ruleset(*, merge_scopes: bool = True) -> Ruleset:
    """Return the rules of a sweep for notices alone."""
    return Ruleset((NoOlm(merge_scopes),))


def _says_all_of(later: Any, earlier: Any, options: Options) -> bool:
    after, before = later["content"], earlier["content"]
    if (later["sender"], later["type"]) != (earlier["sender"], earlier["type"]):
        return False
    if not after.get("code") == before.get("code") == "m.no_olm":
        return False
    if after.get("from_device") != before.get("from_device"):
        return False
    # Nobody saw the later one arrive: who knows whether its sender sent it.
    if after["sender_key"] != before["sender_key"]:
        return False
    scopes = [(each.get("room_id"), each.get("session_id")) for each in (after, before)]
    (rule,) = options.rules.rules
    assert isinstance(rule, NoOlm)
    if rule.merge_scopes:
        return scopes[0] == (None, None) or scopes[1] != (None, None)
    return scopes[0] == scopes[1]


class FakeRows(Database):
    """The table, in memory, as the sweep sees it.

    Attributes:
        table: The rows.
        doomed_mailboxes: Those whose devices are being deleted.
        gone_devices: Those that do not exist any more.
        hidden_from: From which position on readers do not see the stream yet.
        failing: How often deletions fail from now on.
        most_read: How many rows were read at once at most.
        doubles: Rows at places that others have too.
    """

    def __init__(self, table: Table) -> None:
        self.table = dict(table)
        self.doomed_mailboxes: set[MailboxKey] = set()
        self.gone_devices: set[Asker] = set()
        self.hidden_from = 10**9
        self.failing = 0
        self.most_read = 0
        self.doubles: dict[Place, str] = {}

    async def settled(self) -> int:
        return self.hidden_from - 1

    async def read(self, before: Place | None, limit: int) -> list[BacklogRow]:
        places = [
            each
            for each in (*self.table, *self.doubles)
            if before is None or each < before
        ]
        read = sorted(places, reverse=True)[:limit]
        self.most_read = max(self.most_read, len(read))
        return [
            (*each, (self.doubles if each == after else self.table)[each])
            for each, after in zip(read, [None, *read])
        ]

    async def gone(self, askers: Iterable[Asker]) -> set[Asker]:
        return self.gone_devices & set(askers)

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
