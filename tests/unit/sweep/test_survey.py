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

from synapse_withheld.cli.explaining.mailboxes import TABLES
from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.backlog import Place
from synapse_withheld.database.sql import SQLITE
from synapse_withheld.database.survey import OutboxPlace, SurveyDatabase
from synapse_withheld.rules.content import code_of
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.inventory import MOST_KINDS, OTHERS, Inventory, Long
from synapse_withheld.sweep.kinds import SEVERAL, UNREADABLE, Kind, kind_of, kind_shown
from synapse_withheld.sweep.survey import ALL_RULES, Survey, Surveyed
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.backlog import notice, other, text_of
from tests.harness.messages import WITHHELD, make_notice

ALL = Ruleset.of(Config(rules=ALL_RULES))


def written(message: Any) -> str:
    return json.dumps(message, separators=(",", ":"))


def told(text: str, *known: Any, whole: bool = True) -> Kind:
    """Return the kind, told as a survey tells it."""
    return kind_of(text, kind_shown(text), *known, whole=whole)


def plainly(text: str) -> Kind:
    """Return the kind of a message in a mailbox, told by reading all of it."""
    try:
        message = json.loads(text)
    except ValueError:
        return UNREADABLE
    is_withheld = message["type"] == WITHHELD
    return Kind(message["type"], code_of(message["content"]) if is_withheld else "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "sender", "content", 'a","type":"', "x"]),
            inner,
            max_size=3,
        )
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
        ends = text[:1000] + "\n" + text[-1000:]
        assert Kind(message_type) == told(ends, whole=False)
    # Synapse has written what is in an outbox in two orders.
    names = {"sender": sender, "type": message_type, "message_id": "i"}
    messages = {"messages": {"@u:hs": {"D": content}}}
    for edu in ({**messages, **names, "t": "{}"}, {**names, **messages}):
        assert plainly(text) == told(written(edu))


@pytest.mark.parametrize("text", ["", "{", "[]", "nonsense", '"type"', '{"type":1}'])
def test_what_holds_no_message_is_unreadable(text: str) -> None:
    assert UNREADABLE == told(text) == told(text, whole=False)


def test_a_long_type_is_cut() -> None:
    """Senders choose types, and what is counted is remembered."""
    assert 255 == len(told(text_of("@s:hs", "x" * 100_000, {})).type)


def test_an_edu_of_several_codes_says_so() -> None:
    """It is one row."""
    contents = [make_notice("k", None), {"code": "m.unverified"}]
    by_device = dict(zip("AB", contents))
    edu = {"type": WITHHELD, "messages": {"@u:hs": by_device, "@v:hs": 5}}
    assert Kind(WITHHELD, SEVERAL) == told(written(edu))
    by_device["B"] = contents[0]
    assert Kind(WITHHELD, "m.no_olm") == told(written(edu))


@pytest.mark.parametrize("code", ["m.no_olm", "m.unverified", "own"])
def test_a_notice_that_is_known_says_the_same(code: str) -> None:
    """It is not read a second time."""
    text = notice(code=code, room_id="!r:hs", session_id="s")
    known = ALL.recognise(json.loads(text))
    assert known is not None
    assert plainly(text) == told(text, known)


def test_a_hundred_messages_are_a_sync() -> None:
    syncs = {rows: Long(("x",), rows, ()).syncs for rows in (1, 100, 101, 250)}
    assert {1: 1, 100: 1, 101: 2, 250: 3} == syncs


def test_invented_types_take_no_memory() -> None:
    """What is beyond the bound is counted together."""
    made = Inventory(10)
    made.add((("x",), Kind(f"t{number}"), 1) for number in range(3 * MOST_KINDS))
    made.end()
    assert MOST_KINDS + 1 >= len(made.kinds.sums)
    assert 2 * MOST_KINDS == made.kinds.sums[OTHERS].rows
    assert 3 * MOST_KINDS == made.kinds.total.rows


USERS = st.sampled_from(["@a:hs", "@b:hs", "@c:hs", "@é:hs"])
# Not every middle has a mailbox, and there may be none on one side.
MIDDLES = USERS | st.sampled_from(["@", "@aa:hs", "@z:hs", "@ü:hs"])
MAILBOXES = st.tuples(USERS, st.sampled_from(["", "D", "E"]))
# What each rule names, so that some of it goes; and what none does.
SESSION = {"room_id": "!r:hs", "session_id": "s"}
ASKED = {"requesting_device_id": "D", "request_id": "1", "action": "request"}
VERIFIED = {"transaction_id": "t", "from_device": "D", "timestamp": 0}
TEXTS = st.sampled_from(
    [
        *("nonsense", other(), notice(), notice("other"), notice(**SESSION)),
        notice(code="m.unavailable", **SESSION),
        text_of("@s:hs", "m.room_key_request", ASKED),
        text_of("@s:hs", "m.secret.request", ASKED),
        text_of("@s:hs", "m.key.verification.request", VERIFIED),
        text_of("@s:hs", "m.key.verification.cancel", VERIFIED),
    ]
)
INBOXES = st.dictionaries(
    st.builds(lambda key, number: (*key, number), MAILBOXES, st.integers(0, 9)),
    TEXTS,
    max_size=30,
)
OUTBOXES = st.dictionaries(
    st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), TEXTS, max_size=8
)
OWNERS = st.dictionaries(MAILBOXES, st.booleans())


def database_of(
    inbox: dict[Place, str],
    outbox: dict[OutboxPlace, str] | None = None,
    owners: dict[MailboxKey, bool] | None = None,
) -> SurveyDatabase:
    """Put messages, and which devices are there or hidden, into a database."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(TABLES)
    tables: dict[str, Any] = {
        "INSERT INTO device_inbox VALUES (?, ?, ?, ?)": inbox,
        "INSERT INTO device_federation_outbox VALUES (?, ?, 0, ?, '')": outbox,
        "INSERT INTO devices VALUES (?, ?, ?)": owners,
    }
    for sql, rows in tables.items():
        connection.executemany(sql, [(*key, rows[key]) for key in rows or ()])
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
    inbox: dict[Place, str], merge_scopes: bool, batch_size: int
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
    inbox: dict[Place, str],
    outbox: dict[OutboxPlace, str],
    owners: dict[MailboxKey, bool],
    middle: str,
    limit: int,
    batch_size: int,
) -> None:
    """As one survey of everything does, wherever a batch ends."""
    options = Options(batch_size, ALL, dry_run=True)

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
