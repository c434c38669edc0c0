"""A memory that is told what tests tell it, and notices with few words."""

from __future__ import annotations

from typing import Any, Sequence

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from synapse_withheld.rules.notice import ANY, Notice, Pair
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import (
    CANCELLATION,
    REQUEST,
    CancellableRule,
    KeyRequests,
)
from synapse_withheld.rules.withheld import NoOlm, SessionWithheld

R1: MailboxKey = ("@r:hs", "D1")
R2: MailboxKey = ("@r:hs", "D2")
SENDER, OTHER = "@s:hs", "@t:hs"
KEYS = KeyRequests()


class Known(Memory):
    """A memory of which one mailbox is learned; without a key, that one is meant."""

    def __init__(self, limits: Limits | None = None, **options: Any) -> None:
        options = {"sees_reads": False, "hold_s": None, **options}
        super().__init__(limits or Limits(200_000), **options)
        self.open(R1, 0).learned = True

    def begun(self, notice: Notice, key: MailboxKey = R1, who: str = "") -> Record:
        return self.begin(key, notice, who or notice.pair.sender, 0, 0.0)

    def stored(
        self, notice: Notice, stream_id: int, key: MailboxKey = R1, *, who: str = ""
    ) -> list[tuple[int, int]]:
        """Store a notice; return what it made redundant, and for which row."""
        return pairs(self.settle(self.begun(notice, key, who), stream_id))

    def found(
        self, *found: tuple[int, Notice], key: MailboxKey = R1, last: bool = True
    ) -> list[tuple[int, int]]:
        """Learn rows of a mailbox; return what is redundant, and for which row."""
        rows = [Row(*each) for each in found]
        return pairs(self.learn(self.open(key, 0), rows, 0, last=last))

    def why(
        self, notice: Notice | None = None, now_s: float = 0.0, key: MailboxKey = R1
    ) -> Decision:
        """Return what a notice is believed to be, the plain one if none is given."""
        decided, record = self.believe(key, notice or no_olm(), now_s)
        assert (record is not None) == (decided is decision.DUPLICATE)
        return decided

    def gone(self, record: Record) -> Decision:
        """Find that a row is not queued any more."""
        return self.judge(record, RowState(queued=False), 0.0)

    def records(self, key: MailboxKey = R1) -> list[Record]:
        return sorted(self.peek(key) or ())

    def rows(self, key: MailboxKey = R1) -> list[int]:
        return [each.stream_id for each in self.records(key)]

    def is_learned(self, key: MailboxKey = R1) -> bool:
        mailbox = self.peek(key)
        return mailbox is not None and mailbox.learned


def pairs(superseded: Sequence[Superseded] | None) -> list[tuple[int, int]]:
    return [(each.stream_id, each.newer_stream_id) for each in superseded or ()]


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
    content: str = "c", request_id: str = "1", *, rule: CancellableRule = KEYS
) -> Notice:
    pair = Pair(SENDER, "A", "m.room_key_request", (request_id,))
    return Notice(rule, pair, content, REQUEST)


def cancellation(request_id: str = "1", *, rule: CancellableRule = KEYS) -> Notice:
    asked = request(ANY, request_id, rule=rule)
    return asked._replace(variant=CANCELLATION)
