"""Learning what mailboxes hold: who is asked about when, and what becomes of it."""

from __future__ import annotations

from typing import Any, Mapping, Sequence, cast

import attrs
import pytest

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.queues import INBOX, OUTBOX, Queue
from synapse_withheld.database.sql import ABOVE_ALL, Page
from synapse_withheld.delivery.housekeeping import learning
from synapse_withheld.delivery.housekeeping.learning import Learning
from synapse_withheld.delivery.shares import MOST_OF_ONE, MOST_TRIES
from synapse_withheld.memory.memory import Limits, Mailbox, Memory
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.no_olm import WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.ruleset import Ruleset

USER, WHO, OTHER = "@r:here", "@s:here", "@t:here"
A, B, C, D = ((USER, device) for device in "ABCD")
NOW_TS = 5
WITHHELD = "m.room_key.withheld"
NOTICE = Notice(NoOlm(), Pair(WHO, "key:key", WITHHELD), "key", WHOLE)


def message(content: Any = None, message_type: str = WITHHELD) -> dict[str, Any]:
    said = {
        "algorithm": "m.megolm.v1.aes-sha2",
        "code": "m.no_olm",
        "sender_key": "key",
    }
    return {"content": content or said, "type": message_type, "sender": WHO}


def page(*stream_ids: int, below: int | None = None) -> Page:
    rows = [(stream_id, message()) for stream_id in sorted(stream_ids, reverse=True)]
    return Page(rows, max(stream_ids, default=0), below)


@attrs.define
class Rows:
    """A database that says what it is told to say, and what it was asked."""

    pages: dict[MailboxKey, Page] = attrs.Factory(dict)
    ends: dict[MailboxKey, tuple[int, int]] = attrs.Factory(dict)
    asked: list[Any] = attrs.Factory(list)
    askers: list[Any] = attrs.Factory(list)
    are_gone: bool = False
    fails: bool = False
    most_pages: int = 2

    async def read_pages(
        self, _: Queue, below: Mapping[MailboxKey, int], texts: Sequence[str]
    ) -> dict[MailboxKey, Page]:
        assert tuple(texts) == RULES.marks
        self.asked.append({key[1]: each for key, each in below.items()})
        if self.fails:
            raise RuntimeError
        return {key: self.pages[key] for key in below if key in self.pages}

    async def read_ends(
        self, _: Queue, keys: Sequence[MailboxKey]
    ) -> dict[MailboxKey, tuple[int, int]]:
        self.asked.append("".join(device for _, device in keys))
        if self.fails:
            raise RuntimeError
        return {key: self.ends[key] for key in keys if key in self.ends}

    async def gone(self, askers: Any) -> set[Any]:
        self.askers.append(set(askers))
        return set(self.askers[-1]) if self.are_gone else set()


RULES = Ruleset.of(Config(rules=RulesConfig(key_requests=True)))


@attrs.define
class Around:
    """What learns, and what is around it."""

    learning: Learning
    memory: Memory
    database: Rows
    tidied: list[tuple[list[Superseded], str]]
    slept: list[float]

    def add(self, *keys: MailboxKey, who: str = WHO, row: Row | None = None) -> None:
        for key in keys:
            self.learning.add(self.memory.open(key, 0), who, row)

    def do_some(self, times: int = 1) -> None:
        for _ in range(times):
            driven(self.learning.do_some())

    def mailbox(self, key: MailboxKey = A) -> Mailbox:
        mailbox = self.memory.peek(key)
        assert mailbox is not None
        return mailbox

    def known(self, key: MailboxKey = A) -> tuple[list[int], bool, bool]:
        """Return which rows of a mailbox are known, and whether all or the oldest."""
        mailbox = self.mailbox(key)
        rows = sorted(record.stream_id for record in mailbox)
        return rows, mailbox.learned, mailbox.is_whole

    def arrives(self, key: MailboxKey, stream_id: int) -> None:
        self.memory.open(key, 0)
        self.memory.settle(self.memory.begin(key, NOTICE, WHO, 0, 0.0), stream_id)


def make(queue: Queue = INBOX) -> Around:
    memory = Memory(Limits(100_000), sees_reads=True, hold_s=None, position=lambda: 0)
    database, tidied, slept = Rows(), [], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    some = Learning(
        queue,
        memory,
        cast(Any, database),
        RULES,
        lambda rows, who: tidied.append((rows, who)),
        lambda: NOW_TS,
        sleep,
    )
    return Around(some, memory, database, tidied, slept)


def unlearned(around: Around, key: MailboxKey) -> Any:
    return learning._Unlearned(WHO, around.memory.open(key, 0))


@pytest.fixture
def around() -> Around:
    return make()


def test_what_a_mailbox_holds_is_known_once_it_is_read(around: Around) -> None:
    """From its newest row on; of what is redundant its owner's share is tidied."""
    around.database.pages = {A: page(3, 7, 9)}
    around.add(A)
    assert (1, True) == (len(around.learning), around.learning.is_ready)
    around.do_some()

    assert [{"A": ABOVE_ALL}] == around.database.asked
    assert ([9], True, True) == around.known()
    assert [([Superseded(A, 3, 9), Superseded(A, 7, 9)], WHO)] == around.tidied
    assert (0, False) == (len(around.learning), around.learning.is_ready)
    assert not around.mailbox().is_due
    assert [] == around.slept


def test_so_many_pages_are_read(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older stays, and is delivered: not all is known then."""
    monkeypatch.setattr(learning, "MOST_PAGES", 2)
    around.database.pages = {A: page(9, below=9)}
    around.add(A)
    around.do_some()
    assert ([9], False, False) == around.known()
    around.database.pages = {A: page(8, below=8)}
    around.do_some()

    assert ([9], True, False) == around.known()
    assert 0 == len(around.learning)
    assert not around.mailbox().is_due


@pytest.mark.parametrize("page_when_doubted", [1, 2])
def test_what_is_doubted_while_it_is_read_is_not_known(page_when_doubted: int) -> None:
    """From the first page on; what was found is, and it can be learned again."""
    around = make()
    around.database.pages = {A: page(9, below=9)}
    around.add(A)
    if page_when_doubted == 1:
        # Before it is asked about, a doubt does not matter.
        around.mailbox().doubt()
    around.do_some()
    if page_when_doubted == 2:
        around.mailbox().doubt()
    around.database.pages = {A: page(8)}
    around.do_some()

    is_known = page_when_doubted == 1
    assert ([9], is_known, is_known) == around.known()
    around.add(A)
    assert 1 == len(around.learning)


def test_what_was_forgotten_meanwhile_is_not_asked_about(around: Around) -> None:
    """Unless it was opened again; twice in one statement it is asked about once."""
    around.database.most_pages = 5
    around.add(A, B)
    around.memory.forget(A)
    around.memory.forget(B)
    around.database.pages = {B: page(5)}
    around.add(B)
    around.do_some()
    around.do_some()

    assert [{"B": ABOVE_ALL}] == around.database.asked
    assert ([5], True, True) == around.known(B)
    assert not around.mailbox(B).is_due


def test_a_mailbox_is_queued_once(around: Around) -> None:
    around.database.most_pages = MOST_OF_ONE + 1
    around.add(A, A)
    assert 1 == len(around.learning)
    around.add(*((USER, str(number)) for number in range(MOST_OF_ONE)))
    assert MOST_OF_ONE == len(around.learning)
    assert around.memory.peek((USER, str(MOST_OF_ONE - 1))) is None
    around.add(B, who=OTHER)

    assert around.memory.peek(B) is not None


@pytest.mark.parametrize("are_many", [False, True])
def test_what_fails_is_tried_again_and_given_up_in_the_end(are_many: bool) -> None:
    """Then it is forgotten, and can be queued once more."""
    around = make()
    around.database.fails = True
    around.database.most_pages = 0 if are_many else 2
    around.add(A)
    for _ in range(MOST_TRIES):
        assert 1 == len(around.learning)
        assert around.memory.peek(A) is not None
        with pytest.raises(RuntimeError):
            around.do_some()

    assert MOST_TRIES == len(around.database.asked)
    assert around.memory.peek(A) is None
    assert 0 == len(around.learning)
    around.add(A)
    assert 1 == len(around.learning)


def test_a_page_that_was_read_ends_the_count_of_failures(around: Around) -> None:
    around.add(A)
    for number in range(3):
        around.database.pages = {A: page(9 - number, below=9 - number)}
        around.database.fails = True
        for _ in range(MOST_TRIES - 1):
            with pytest.raises(RuntimeError):
                around.do_some()
        around.database.fails = False
        around.do_some()

    assert 1 == len(around.learning)


def test_where_many_come_at_once_they_are_looked_over(around: Around) -> None:
    """In turns with those that are read; whose server nobody asks is read."""
    around.database.ends = dict.fromkeys((C, D), (0, 0))
    around.database.pages = {key: page() for key in (A, B)}
    around.add(A, B, C, D)
    around.do_some(2)

    assert ["CD", {"A": ABOVE_ALL, "B": ABOVE_ALL}] == around.database.asked
    elsewhere = make(OUTBOX)
    elsewhere.add(A, B, C)
    elsewhere.do_some(2)
    assert [{"A": ABOVE_ALL, "B": ABOVE_ALL}, {"C": ABOVE_ALL}] == (
        elsewhere.database.asked
    )


@pytest.mark.parametrize(
    ("ends", "row_id", "seen_id", "rows"),
    [
        # It is empty.
        ((0, 0), None, None, []),
        # Its only row was stored for all devices of the user.
        ((7, 7), 7, None, [7]),
        # Its only row was seen arriving.
        ((7, 7), None, 7, [7]),
        # It has others, or another one.
        ((5, 7), 7, None, None),
        ((7, 7), 6, None, None),
        ((7, 7), None, 6, None),
        ((7, 7), None, None, None),
    ],
)
def test_a_mailbox_whose_only_row_is_known_is_not_read(
    ends: tuple[int, int],
    row_id: int | None,
    seen_id: int | None,
    rows: list[int] | None,
) -> None:
    """All that it holds is known then; otherwise it is read after all."""
    around = make()
    around.database.most_pages = 0
    around.database.ends = {A: ends}
    if seen_id is not None:
        around.arrives(A, seen_id)
    around.add(A, row=None if row_id is None else Row(row_id, NOTICE))
    assert around.learning.is_ready
    around.do_some()

    assert ["A"] == around.database.asked
    if rows is not None:
        assert (rows, True, True) == around.known()
        assert (0, False) == (len(around.learning), around.mailbox().is_due)
        return
    assert not around.mailbox().learned
    around.database.most_pages = 1
    around.do_some()
    assert {"A": ABOVE_ALL} == around.database.asked[-1]


def test_for_the_only_row_few_records_are_looked_through(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "FEW", 0)
    around.database.most_pages = 0
    around.database.ends = {A: (7, 7)}
    around.arrives(A, 7)
    around.add(A)
    around.do_some()

    assert not around.mailbox().learned


def test_of_those_that_are_looked_over_what_does_not_exist_is_forgotten(
    around: Around,
) -> None:
    """And what does not fit among those that are read."""
    around.database.most_pages = 0
    around.database.ends = {B: (1, 2)}
    around.add(A, B)
    for number in range(MOST_OF_ONE):
        around.learning._mailboxes.add(unlearned(around, (USER, str(number))))
    around.do_some()

    assert around.memory.peek(A) is around.memory.peek(B) is None


def test_what_is_doubted_while_it_is_looked_over_is_not_known(around: Around) -> None:
    around.database.most_pages = 0
    around.add(A)
    read_ends = around.database.read_ends

    async def doubt(queue: Queue, keys: Sequence[MailboxKey]) -> Any:
        around.database.ends = {A: (0, 0)}
        around.mailbox().doubt()
        return await read_ends(queue, keys)

    around.learning.database = cast(
        Any, attrs.make_class("Doubting", ["read_ends"])(doubt)
    )
    around.do_some()

    assert ([], False, False) == around.known()


def test_others_have_their_turn_where_a_page_has_many_notices(around: Around) -> None:
    """After they were recognised, and after they were learned."""
    for count, slept in [
        (learning.MOST_AT_ONCE, []),
        (learning.MOST_AT_ONCE + 1, [0, 0]),
    ]:
        around.slept.clear()
        around.database.pages = {A: page(*range(1, count + 1))}
        around.memory.forget(A)
        around.add(A)
        around.do_some()

        assert slept == around.slept
