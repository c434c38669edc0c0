"""A survey: what kind of message a row holds, how rows are added up, and parts."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import Any, Callable

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.shared.explaining.mailboxes import TABLES
from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.sql import SQLITE
from synapse_withheld.database.survey import END, SurveyDatabase
from synapse_withheld.rules.content import WITHHELD_TYPES, code_of
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.inventory import MOST_KINDS, OTHERS, Inventory, Long
from synapse_withheld.sweep.kinds import SEVERAL, UNREADABLE, Kind, kind_of, kind_shown
from synapse_withheld.sweep.survey import ALL_RULES, Survey, Surveyed
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.backlog import other, text_of
from tests.harness.messages import WITHHELD
from tests.unit.rules.test_redundant import MESSAGES


def written(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def told(text: str) -> Kind:
    return kind_of(text, kind_shown(text))


def told_by_ends(text: str) -> Kind:
    """Return the kind as it is told where a text is too long to be read whole."""
    ends = f"{text[:END]}\n{text[-END:]}"
    return kind_of(ends, kind_shown(ends), whole=False)


def plainly(text: str) -> Kind:
    """Return the kind of a message in a mailbox, told by reading all of it."""
    try:
        message = json.loads(text)
    except ValueError:
        return UNREADABLE
    is_withheld = message["type"] in WITHHELD_TYPES
    return Kind(message["type"], code_of(message["content"]) if is_withheld else "")


KEYS = st.sampled_from(["type", "sender", "content", 'a","type":"', "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["m.dummy", WITHHELD, 'a","type":"b', "\\", "é", "a\n", "", 'x"}', "\ud800"]
)


@given(NAMES, NAMES, JSON)
def test_the_kind_of_a_row_is_told_by_its_ends(
    message_type: str, sender: str, content: Any
) -> None:
    """Whatever anybody wrote into the content, the type or the name."""
    text = written({"content": content, "type": message_type, "sender": sender})
    assert plainly(text) == told(text)
    if WITHHELD != message_type:
        assert Kind(message_type) == told_by_ends(text)
    # Synapse has written what is in an outbox in two orders.
    names = {"sender": sender, "type": message_type, "message_id": "i"}
    messages = {"messages": {"@u:hs": {"D": content}}}
    for edu in ({**messages, **names, "t": "{}"}, {**names, **messages}):
        assert plainly(text) == told(written(edu))


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", '"type"', '{"type":1}'])
def test_what_holds_no_message_is_unreadable(text: str) -> None:
    assert UNREADABLE == told(text) == told_by_ends(text)


@pytest.mark.parametrize("odd", ["x", '"' + "a" * 200, "\\", "\ud800"])
def test_a_long_type_is_cut(odd: str) -> None:
    """Senders choose types, and what is counted is remembered."""
    text = text_of("@s:hs", odd * 9000, {})
    assert (odd * 255)[:255] == told(text).type
    # An end may begin in the middle of it.
    assert told_by_ends(text) in (UNREADABLE, told(text))


def test_an_edu_of_several_codes_says_so() -> None:
    """It is one row."""
    for code, kind in (("m.unverified", SEVERAL), ("own", "other")):
        by_device = {"A": {"code": "own"}, "B": {"code": code}}
        edu = {"type": WITHHELD, "messages": {"@u:hs": by_device, "@v:hs": 5}}
        assert Kind(WITHHELD, kind) == told(written(edu))


def test_a_hundred_messages_are_a_sync() -> None:
    assert [1, 1, 2] == [Long(("x",), rows, ()).syncs for rows in (1, 100, 101)]


def test_invented_types_take_no_memory() -> None:
    """What is beyond the bound is counted together."""
    made = Inventory(10)
    made.add((("x",), Kind(f"t{number}"), 1) for number in range(3 * MOST_KINDS))
    made.end()
    assert MOST_KINDS + 1 >= len(made.kinds.sums)
    assert 2 * MOST_KINDS == made.kinds.sums[OTHERS].rows


USERS = st.sampled_from(["@a:hs", "@b:hs", "@c:hs", "@é:hs"])
# Not every middle has a mailbox, and there may be none on one side.
MIDDLES = USERS | st.sampled_from(["@", "@aa:hs", "@z:hs", "@ü:hs"])
DEVICES = st.sampled_from(["", "D", "E"])
TEXTS = st.sampled_from(["nonsense", other()]) | st.builds(
    lambda each: text_of(each.sender, each.type, each.content), MESSAGES
)
INBOXES = st.dictionaries(st.tuples(USERS, DEVICES, st.integers(0, 9)), TEXTS)
OUTBOXES = st.dictionaries(
    st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), TEXTS, max_size=8
)
# Whether a device is hidden.
OWNERS = st.dictionaries(st.tuples(USERS, DEVICES), st.booleans())


def database_of(inbox: Any, outbox: Any = (), owners: Any = ()) -> SurveyDatabase:
    """Put messages, and which devices are there or hidden, into a database."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    for sql, rows in (
        ("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", inbox),
        ("INSERT INTO device_federation_outbox VALUES (?, ?, 0, ?, '')", outbox),
        ("INSERT INTO devices VALUES (?, ?, ?)", owners),
    ):
        connection.executemany(sql, [(*key, rows[key]) for key in rows])
    cursor: Any = connection.cursor()

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(cursor, *arguments)

    async def walk(statement: Callable[..., Any], *arguments: Any) -> Any:
        return statement(cursor, SQLITE, *arguments)

    return SurveyDatabase(run, SQLITE, walk)


def surveyed(survey: Survey) -> Surveyed:
    while not survey.found.done:
        driven(survey.step())
    return survey.end()


@given(INBOXES, st.booleans(), st.integers(1, 6))
def test_each_rule_removes_what_a_sweep_with_it_alone_would(
    inbox: Any, merge_scopes: bool, batch_size: int
) -> None:
    """Whether it is on or not."""

    def options(rules: RulesConfig) -> Options:
        config = Config(merge_scopes=merge_scopes, rules=rules)
        return Options(batch_size, Ruleset.of(config), dry_run=True, now_ts=2**40)

    database = database_of(inbox)
    found = surveyed(Survey(database, options(ALL_RULES), 1)).swept.rules
    for name in (names := attrs.asdict(ALL_RULES)):
        only = RulesConfig(**{each: each == name for each in names})
        sweep = Sweep(database, options(only))
        while not sweep.progress.done:
            driven(sweep.step())
        assert sweep.progress.rules.get(name) == found.get(name)


@given(INBOXES, OUTBOXES, OWNERS, MIDDLES, st.integers(1, 4), st.integers(1, 6))
def test_parts_find_together_what_plain_counting_says(
    inbox: Any, outbox: Any, owners: Any, middle: str, limit: int, batch_size: int
) -> None:
    """As one survey of everything does, wherever a batch ends."""
    options = Options(batch_size, Ruleset.of(Config(rules=ALL_RULES)), dry_run=True)

    def found(**part: Any) -> Surveyed:
        database = database_of(inbox, outbox, owners)
        return surveyed(Survey(database, options, limit, **part))

    whole, both = found(), found(down_to=middle)
    both.follow(found(below=middle))
    assert said(whole) == said(both)
    for queue, table in ((whole.inbox, inbox), (whole.outbox, outbox)):
        kinds = {kind: sums.rows for kind, sums in queue.kinds.sums.items()}
        assert Counter(map(plainly, table.values())) == kinds
        assert sum(map(len, table.values())) == queue.kinds.total.bytes
        rows_of = Counter(place[:-1] for place in table)
        assert len(rows_of) == queue.names
        longest = sorted(rows_of.values(), reverse=True)[:limit]
        assert longest == [each.rows for each in queue.longest]
    for is_hidden, orphans in ((None, whole.gone), (True, whole.hidden)):
        rows = [place for place in inbox if owners.get(place[:2]) is is_hidden]
        assert len(rows) == orphans.sums.rows
        assert len({place[:2] for place in rows}) == orphans.mailboxes


def said(found: Surveyed) -> Any:
    """Return what is printed of it."""
    queues = [
        (each.kinds, list(each.kinds.sums), each.names, each.longest)
        for each in (found.inbox, found.outbox)
    ]
    return (queues, found.gone, found.hidden, found.swept.rules, found.done)
