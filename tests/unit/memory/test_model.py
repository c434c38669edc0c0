"""Memory beside a naive one: whatever happens, both believe the same."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from synapse_withheld.memory.memory import Memory
from synapse_withheld.memory.tables.limits import Limits
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import CANCELLATION, REQUEST, KeyRequests
from synapse_withheld.rules.withheld import SessionWithheld
from tests.unit.memory.naive import NaiveMemory, NaiveRow
from tests.unit.memory.naming import pairs, records

MAILBOXES = [("@r:hs", "D1"), ("@r:hs", "D2"), ("@q:hs", "D1")]
SENDERS = ["@s:hs", "@t:hs"]
KEYS = ["k1", "k2"]
NOTICES = [
    *(
        Notice(NoOlm(), Pair(sender, "device:A", "w"), key, variant)
        for sender in SENDERS
        for key in KEYS
        for variant in ("whole", "scoped")
    ),
    *(
        Notice(SessionWithheld(), Pair("@s:hs", f"key:{key}", "w", ("!r", key)), key, c)
        for key in KEYS
        for c in ("m.unverified", "m.blacklisted")
    ),
    Notice(KeyRequests(), Pair("@s:hs", "A", "r", ("1",)), "c", CANCELLATION),
    *(
        # Their contents look like a key; no Olm message is about them.
        Notice(KeyRequests(), Pair("@s:hs", "A", "r", ("1",)), content, REQUEST)
        for content in KEYS
    ),
]

mailboxes = st.sampled_from(MAILBOXES)
notices = st.sampled_from(NOTICES)


class Beside(RuleBasedStateMachine):
    """One memory and one naive one, to which the same happens."""

    @initialize(sees_reads=st.booleans(), hold_s=st.sampled_from([None, 3.0]))
    def begin_both(self, sees_reads: bool, hold_s: float | None) -> None:
        self.memory = Memory(Limits(100_000), sees_reads=sees_reads, hold_s=hold_s)
        self.naive = NaiveMemory(sees_reads=sees_reads, hold_s=hold_s)
        self.on_their_way: list[tuple[Any, NaiveRow, int]] = []
        self.found: dict[tuple[MailboxKey, int], Notice] = {}
        self.stream_id = 100
        self.now_s = 0.0

    def next_id(self) -> int:
        self.stream_id += 10
        return self.stream_id

    @rule(key=mailboxes, handed_out=st.sampled_from([0, 0, 0, 150]))
    def open(self, key: MailboxKey, handed_out: int) -> None:
        self.memory.open(key, handed_out)
        self.naive.open(key, handed_out)

    @rule(key=mailboxes, notice=notices, passed_s=st.sampled_from([0.0, 1.0]))
    def begin(self, key: MailboxKey, notice: Notice, passed_s: float) -> None:
        self.now_s += passed_s
        storing = self.memory.begin(key, notice, notice.pair.sender, 7, self.now_s)
        row = self.naive.begin(key, notice, self.now_s)
        self.on_their_way.append((storing, row, self.next_id()))

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data(), only_one=st.sampled_from([True, True, True, False]))
    def settle(self, data: st.DataObject, only_one: bool) -> None:
        storing, row, stream_id = self._take(data)
        superseded = self.memory.settle(storing, stream_id, only_one_in_row=only_one)
        expected = self.naive.settle(row, stream_id, only_one=only_one)
        assert (superseded is None) == (expected is None)
        assert (expected or set()) == {older for older, _ in pairs(superseded)}
        assert all(older < newer for older, newer in pairs(superseded))

    @precondition(lambda self: self.on_their_way)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        storing, row, _ = self._take(data)
        self.memory.abandon(storing)
        self.naive.in_flight.remove(row)

    @rule(
        key=mailboxes,
        found=st.dictionaries(st.integers(1, 300), notices, max_size=4),
        stale=st.booleans(),
        last=st.booleans(),
    )
    def learn(
        self,
        key: MailboxKey,
        found: dict[int, Notice],
        stale: bool,
        last: bool,
    ) -> None:
        """A page of a mailbox was read, with rows that are known among them."""
        mailbox = self.memory.get(key)
        if mailbox is None:
            return
        box = self.naive.boxes[key]
        # A stream ID is one row. Those of what this process stores are tens.
        page = {
            each: self.found.setdefault((key, each), found[each])
            for each in found
            if each % 10
        }
        own = {each.stream_id: each.notice for each in box.rows}
        own.update((of, row.notice) for _, row, of in self._of(key))
        page.update((each, own[each]) for each in own if each % 20 == 0 or stale)
        page = {each: page[each] for each in page if each <= self.stream_id}
        is_stale = {each for each in page if stale and not page[each].rule.about_keys}
        rows = [Row(each, page[each], stale=each in is_stale) for each in sorted(page)]
        newest_id = max((each.stream_id for each in box.rows), default=0)
        superseded = self.memory.learn(mailbox, rows, newest_id, last=last)
        expected = self.naive.learn(key, sorted(page.items()), is_stale)
        assert expected == {each.stream_id for each in superseded}
        box.learned |= last

    @rule(
        key=mailboxes,
        sender=st.sampled_from(SENDERS),
        sender_key=st.sampled_from(KEYS) | st.text("k12x"),
    )
    def rearm_device(self, key: MailboxKey, sender: str, sender_key: str) -> None:
        expected = self.naive.note_olm(key[0], sender, key[1], sender_key)
        assert expected == self.memory.rearm_device(key, sender, sender_key)

    @rule(user=st.sampled_from(["@r:hs", "@q:hs"]), sender=st.sampled_from(SENDERS))
    def rearm_users(self, user: str, sender: str) -> None:
        expected = self.naive.note_olm(user, sender, None, None)
        assert expected == self.memory.rearm_users(user, sender)

    @rule(key=mailboxes, ahead=st.integers(0, 20))
    def note_read(self, key: MailboxKey, ahead: int) -> None:
        up_to = self.stream_id - ahead
        self.memory.note_read(*key, up_to)
        box = self.naive.boxes.get(key)
        if box is not None:
            box.handed_out = max(box.handed_out, up_to)

    @precondition(lambda self: any(self.naive.all_rows()))
    @rule(data=st.data(), gone=st.booleans())
    def look(self, data: st.DataObject, gone: bool) -> None:
        row = data.draw(st.sampled_from(list(self.naive.all_rows())))
        record = self._record(row)
        if gone:
            self.memory.drop(row.key, record)
            self.naive.drop(row.key, row.stream_id)
        else:
            self.memory.confirmed(record, self.now_s)
            row.queued_s = self.now_s

    @rule(key=mailboxes)
    def forget(self, key: MailboxKey) -> None:
        self.memory.forget(key)
        self.naive.boxes.pop(key, None)

    @rule(seldom=st.integers(0, 9))
    def clear(self, seldom: int) -> None:
        if not seldom:
            self.memory.clear()
            self.naive.boxes.clear()

    @invariant()
    def both_believe_the_same(self) -> None:
        """Of any notice for any mailbox."""
        for key in MAILBOXES:
            for notice in NOTICES:
                expected, stream_id = self.naive.believe(key, notice, self.now_s)
                found, record = self.memory.believe(key, notice, self.now_s)
                assert expected in {None, found}, (key, notice)
                assert stream_id == (record and record.stream_id), (key, notice)

    @invariant()
    def both_remember_the_same(self) -> None:
        expected = {
            key: {each.stream_id for each in box.rows}
            for key, box in self.naive.boxes.items()
        }
        of = {key: self.memory.peek(key) for key in MAILBOXES}
        assert expected == {
            key: {each.stream_id for each in mailbox}
            for key, mailbox in of.items()
            if mailbox is not None
        }
        assert sum(map(len, expected.values())) == self.memory.pairs
        assert len(expected) == len(self.memory)
        for key, box in self.naive.boxes.items():
            mailbox = of[key]
            assert mailbox is not None
            assert box.handed_out == mailbox.handed_out
            assert box.learned == mailbox.learned

    def teardown(self) -> None:
        for storing, _, _ in self.on_their_way:
            self.memory.abandon(storing)
        assert not list(self.memory._in_flight)
        assert not self.memory._in_flight._said
        for key in MAILBOXES:
            self.memory.forget(key)
        assert (0, 0) == (len(self.memory), self.memory.pairs)
        assert 0 == len(self.memory._users)
        assert not self.memory._of_who

    def _take(self, data: st.DataObject) -> tuple[Any, NaiveRow, int]:
        at = data.draw(st.integers(0, len(self.on_their_way) - 1))
        return self.on_their_way.pop(at)

    def _of(self, key: MailboxKey) -> list[tuple[Any, NaiveRow, int]]:
        return [each for each in self.on_their_way if each[1].key == key]

    def _record(self, row: NaiveRow) -> Record:
        found = records(self.memory, row.key)
        return next(each for each in found if each.stream_id == row.stream_id)


TestBeside = Beside.TestCase
TestBeside.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
