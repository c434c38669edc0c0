"""Names and notices that tests of the memory share."""

from __future__ import annotations

from typing import Any, Sequence

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import ANY, Notice, Pair
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import (
    CANCELLATION,
    REQUEST,
    CancellableRule,
    KeyRequests,
)
from synapse_withheld.rules.withheld import SessionWithheld

R1: MailboxKey = ("@r:hs", "D1")
R2: MailboxKey = ("@r:hs", "D2")
SENDER, OTHER = "@s:hs", "@t:hs"
KEYS = KeyRequests()


def memory(limits: Limits | None = None, **changed: Any) -> Memory:
    options = {"sees_reads": False, "hold_s": None, **changed}
    of = Memory(limits or Limits(200_000), **options)
    of.open(R1, 0).learned = True
    return of


def no_olm(
    key: str = "k1", variant: str = "whole", *, sender: str = SENDER, device: str = "A"
) -> Notice:
    pair = Pair(sender, f"device:{device}", "m.room_key.withheld")
    return Notice(NoOlm(), pair, key, variant)


def scoped(key: str = "k1") -> Notice:
    return no_olm(key, "scoped")


def withheld(session: str = "1", code: str = "m.unverified") -> Notice:
    scope = ("!room", session, "k1")
    pair = Pair(SENDER, "device:A", "m.room_key.withheld", scope)
    return Notice(SessionWithheld(), pair, "k1", code)


def request(
    content: str = "c",
    request_id: str = "1",
    variant: str = REQUEST,
    *,
    rule: CancellableRule = KEYS,
) -> Notice:
    pair = Pair(SENDER, "A", "m.room_key_request", (request_id,))
    return Notice(rule, pair, content, variant)


def cancellation(request_id: str = "1", *, rule: CancellableRule = KEYS) -> Notice:
    return request(ANY, request_id, CANCELLATION, rule=rule)


def begin(of: Memory, notice: Notice, key: MailboxKey = R1) -> Record:
    return of.begin(key, notice, notice.pair.sender, 0, 0.0)


def store(
    of: Memory,
    notice: Notice,
    stream_id: int,
    key: MailboxKey = R1,
    *,
    who: str | None = None,
    only_one_in_row: bool = True,
) -> list[tuple[int, int]]:
    """Store a notice; return what it made redundant, and for which row."""
    storing = of.begin(key, notice, who or notice.pair.sender, 0, 0.0)
    return pairs(of.settle(storing, stream_id, only_one_in_row=only_one_in_row))


def learn(
    of: Memory, *found: tuple[int, Notice], key: MailboxKey = R1, last: bool = True
) -> list[tuple[int, int]]:
    """Learn rows of a mailbox; return what is redundant, and for which row."""
    rows = [Row(*each) for each in found]
    return pairs(of.learn(of.open(key, 0), rows, 0, last=last))


def pairs(superseded: Sequence[Superseded] | None) -> list[tuple[int, int]]:
    return [(each.stream_id, each.newer_stream_id) for each in superseded or ()]


def records(of: Memory, key: MailboxKey = R1) -> list[Record]:
    return sorted(of.peek(key) or ())


def stream_ids(of: Memory, key: MailboxKey = R1) -> list[int]:
    return [each.stream_id for each in records(of, key)]


def is_learned(of: Memory, key: MailboxKey = R1) -> bool:
    mailbox = of.peek(key)
    return mailbox is not None and mailbox.learned
