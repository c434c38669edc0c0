"""What makes way for what: nobody pushes out others, and no store takes longer."""

from __future__ import annotations

from collections import Counter
from typing import Callable, Iterable

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables import limits as limits_module
from synapse_withheld.memory.tables.limits import (
    MOST_OF_SENDER,
    MOST_REQUESTS_OF_SENDER,
    Limits,
)
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules import decision
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Notice
from tests.unit.memory.naming import (
    R1,
    R2,
    is_learned,
    learn,
    memory,
    no_olm,
    pairs,
    records,
    request,
    store,
    stream_ids,
    withheld,
)


def test_one_number_bounds_everything() -> None:
    """The default, and the least that can be chosen."""
    default, least = (attrs.astuple(Limits(most)) for most in (200_000, 1_000))

    assert (200_000, 100_000, 20_000, 20_000, 2_000) == default
    assert (1_000, 500, 100, 100, 10) == least


def test_a_hundred_sessions_do_not_push_out_the_one_plain_notice() -> None:
    of = memory()
    store(of, no_olm(), 1)
    for number in range(MOST_OF_SENDER + 20):
        store(of, withheld(str(number)), number + 2)

    assert MOST_OF_SENDER + 1 == of.pairs
    assert [1, 22] == stream_ids(of)[:2]
    assert decision.DUPLICATE is of.believe(R1, no_olm(), 0.0).decision
    assert decision.FIRST is of.believe(R1, withheld("3"), 0.0).decision


def test_a_sender_may_have_more_requests() -> None:
    of = memory()
    for number in range(MOST_REQUESTS_OF_SENDER):
        store(of, request(str(number)), number + 1)
    assert is_learned(of)
    store(of, request("one more"), 9999)

    assert MOST_REQUESTS_OF_SENDER == of.pairs
    assert 2 == stream_ids(of)[0]
    assert not is_learned(of)


def test_in_a_full_mailbox_who_holds_most_makes_room() -> None:
    """Whoever comes; those who hold little keep it."""
    of = memory(Limits(200_000, of_mailbox=6, of_who_in_mailbox=4))
    for number in range(2):
        store(of, no_olm(), number + 1)
        store(of, no_olm(sender=f"@few{number}:hs"), number + 11)
    for number in range(3):
        store(of, no_olm(sender=f"@u{number}:else"), number + 21, who="else")
    assert is_learned(of)
    store(of, no_olm(sender="@new:hs"), 31)

    assert [2, 11, 12, 22, 23, 31] == stream_ids(of)
    assert not is_learned(of)
    learn(of, (5, no_olm(sender="@old:hs")))

    assert [2, 5, 11, 12, 23, 31] == stream_ids(of)


def test_of_a_large_mailbox_only_some_is_forgotten_at_once() -> None:
    """All of it would hold up everybody; what is left is right as far as it goes."""
    of = memory(Limits(400, of_mailbox=400, of_who=400, of_who_in_mailbox=400))
    for number in range(400):
        store(of, no_olm(sender=f"@u{number}:hs"), number + 1)
    assert 400 == of.pairs
    of.open(R2, 0)
    store(of, no_olm(), 999, R2)

    assert 301 == of.pairs
    assert (300, False) == (len(records(of)), is_learned(of))
    assert [999] == stream_ids(of, R2)


def test_in_a_full_mailbox_of_equals_the_oldest_make_room() -> None:
    """Whether they come first or last: the next pages that are learned are older."""
    of = memory(Limits(200_000, of_mailbox=6, of_who_in_mailbox=6))
    found = [(number, no_olm(sender=f"@u{number}:hs")) for number in range(1, 21)]
    for page in (found[10:], found[:10]):
        learn(of, *reversed(page))
        assert [*range(15, 21)] == stream_ids(of)
    store(of, no_olm(), 21)

    assert [*range(16, 22)] == stream_ids(of)


# Makes a notice of what it is about and its sender.
Make = Callable[[str, str], Notice]
MAKERS: list[Make] = [
    lambda what, sender: no_olm(device=what, sender=sender),
    lambda what, sender: withheld(what, sender=sender),
    lambda what, sender: request(what, sender=sender),
]


class Bounded(RuleBasedStateMachine):
    """A memory with little room: what it loses, it loses for a reason."""

    LIMITS = Limits(40, mailboxes=4, of_mailbox=15, of_who=18, of_who_in_mailbox=7)
    KEYS = tuple(("@r:hs", f"D{number}") for number in range(6))

    @initialize()
    def begin_empty(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(limits_module, "MOST_OF_SENDER", 4)
        self.patch.setattr(limits_module, "MOST_REQUESTS_OF_SENDER", 4)
        self.memory = Memory(self.LIMITS, sees_reads=False, hold_s=None)
        self.stream_id = 1000
        self.used: list[MailboxKey] = []

    @rule(
        key=st.sampled_from(KEYS),
        user=st.integers(0, 3),
        server=st.sampled_from(["hs", "hs", "else"]),
        make=st.sampled_from(MAKERS),
        what=st.integers(0, 30),
        is_next=st.booleans(),
    )
    def store(
        self,
        key: MailboxKey,
        user: int,
        server: str,
        make: Make,
        what: int,
        is_next: bool,
    ) -> None:
        """A notice is stored; it is remembered, whatever goes for it.

        One request may have one stream ID in many mailboxes.
        """
        if is_next or self.stream_id in stream_ids(self.memory, key):
            self.stream_id += 1
        sender = f"@u{user}:{server}"
        notice = make(str(what), sender)
        self.open(key)
        before = self._snapshot()
        who = server if server == "else" else sender
        storing = self.memory.begin(key, notice, who, 0, 0.0)
        superseded = self.memory.settle(storing, self.stream_id)
        self._use(key)
        gone = {older for older, _ in pairs(superseded)}
        (record,) = set(records(self.memory, key)) - set(before)
        self._check_lost(before, record, gone)

    @rule(key=st.sampled_from(KEYS))
    def open(self, key: MailboxKey) -> None:
        """A mailbox is opened: it may push out the one that was used least recently."""
        mailbox = self.memory.open(key, 0)
        mailbox.learned = True
        self._use(key)
        self.used = [each for each in self.used if self.memory.peek(each) is not None]

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key: MailboxKey) -> None:
        self.memory.forget(key)
        self.used = [each for each in self.used if each != key]

    @rule(key=st.sampled_from(KEYS), first=st.integers(1, 900))
    def learn(self, key: MailboxKey, first: int) -> None:
        self.open(key)
        some = [withheld(str(each), sender=f"@u{each % 5}:hs") for each in range(12)]
        learn(self.memory, *enumerate(some, first), key=key)
        self._use(key)

    @invariant()
    def nothing_is_beyond_its_limit(self) -> None:
        limits = self.LIMITS
        all_of = [each for key in self.KEYS for each in records(self.memory, key)]
        assert len(all_of) == self.memory.pairs <= limits.max_pairs
        assert len(self.memory) <= limits.mailboxes
        here = [(each.mailbox, each.who) for each in all_of]
        assert _most(mailbox for mailbox, _ in here) <= limits.of_mailbox
        assert _most(who for _, who in here) <= limits.of_who
        assert _most(here) <= limits.of_who_in_mailbox
        of = ((each.mailbox, each.sender, each.notice.rule.name) for each in all_of)
        assert _most(of) <= 4

    def teardown(self) -> None:
        self.patch.undo()
        for key in self.KEYS:
            self.memory.forget(key)
        assert (0, 0) == (len(self.memory), self.memory.pairs)
        assert 0 == len(self.memory._users)
        assert not self.memory._of_who

    def _use(self, key: MailboxKey) -> None:
        self.used = [each for each in self.used if each != key] + [key]

    def _snapshot(self) -> list[Record]:
        return [each for key in self.KEYS for each in records(self.memory, key)]

    def _check_lost(
        self, before: list[Record], record: Record, superseded: set[int]
    ) -> None:
        """What is lost was the oldest of those who had too much, or used least."""
        have = [each for each in before if each.stream_id not in superseded]
        for each in set(have) - set(self._snapshot()):
            mailbox = self.memory.peek(each.mailbox)
            assert mailbox is None or not mailbox.learned
            assert any(
                len(some) == most and each is min(some)
                for some, most in self._bounds(have, record)
            ) or self._makes_room_for_all(have, each)

    def _bounds(
        self, have: list[Record], record: Record
    ) -> list[tuple[list[Record], int]]:
        here = [each for each in have if each.mailbox == record.mailbox]
        of_sender = [
            each
            for each in here
            if each.sender == record.sender and each.notice.rule == record.notice.rule
        ]
        of_who_here = [each for each in here if each.who == record.who]
        of_who = [each for each in have if each.who == record.who]
        limits = self.LIMITS
        found = [
            (of_sender, 4),
            (of_who_here, limits.of_who_in_mailbox),
            (of_who, limits.of_who),
        ]
        if len(here) == limits.of_mailbox:
            # Including the new one.
            counts = Counter(each.who for each in [*here, record])
            for who, count in counts.items():
                if count == max(counts.values()):
                    of = [each for each in here if each.who == who]
                    found.append((of, count - (who == record.who)))
        return found

    def _makes_room_for_all(self, have: list[Record], lost: Record) -> bool:
        return len(have) == self.LIMITS.max_pairs and lost.mailbox == next(
            each for each in self.used if any(of.mailbox == each for of in have)
        )


def _most(of: Iterable[object]) -> int:
    return max(Counter(of).values(), default=0)


TestBounded = Bounded.TestCase
TestBounded.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
