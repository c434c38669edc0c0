"""A survey finds what plain counting does, and its rules what a sweep would."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from typing import Any, Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.survey import SurveyDatabase
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.survey import ALL_RULES, Survey, Surveyed
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.backlog import notice, other, text_of
from tests.store.conftest import Connection, Q, R, connected
from tests.unit.rules.test_redundant import MESSAGES
from tests.unit.sweep.test_kinds import plainly

KINDS = ["sqlite", "postgres"]
USERS = ["@a:hs", "@b:hs", "@c:hs", "@é:hs"]
# Not every middle has a mailbox, and there may be none on one side.
MIDDLES = st.sampled_from([*USERS, "@", "@aa:hs", "@z:hs", "@ü:hs"])
MAILBOXES = st.tuples(st.sampled_from(USERS), st.sampled_from(["", "D", "E"]))
TEXTS = st.sampled_from(["nonsense", other()]) | st.builds(
    lambda each: text_of(each.sender, each.type, each.content), MESSAGES
)
CONTENTS = st.tuples(
    st.dictionaries(st.tuples(MAILBOXES, st.integers(0, 9)), TEXTS),
    st.dictionaries(st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), TEXTS),
    # Whether a device is hidden.
    st.dictionaries(MAILBOXES, st.booleans()),
)


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest) -> Iterator[dict[str, Connection]]:
    """Create the tables in each kind of database, once for all that is put there."""
    with ExitStack() as open_ones:
        yield {
            kind: open_ones.enter_context(connected(kind, request)) for kind in KINDS
        }


def fill(
    database: Connection, inbox: Any, outbox: Any = (), owners: Any = ()
) -> SurveyDatabase:
    """Put messages, and which devices are there or hidden, into the empty tables."""
    for table, rows in (
        ("device_inbox", [(*key, n, inbox[key, n]) for key, n in inbox]),
        ("device_federation_outbox", [(*each, 0, outbox[each], "") for each in outbox]),
        ("devices", [(*key, owners[key]) for key in owners]),
    ):
        database.execute(f"DELETE FROM {table}")  # noqa: S608 our own
        database.add(table, *rows)

    async def walk(statement: Any, *arguments: Any) -> Any:
        return statement(database, database.driver, *arguments)

    return SurveyDatabase(database.run, database.driver, walk)


def surveyed(survey: Survey) -> Surveyed:
    while not survey.found.done:
        driven(survey.step())
    return survey.end()


@given(st.sampled_from(KINDS), CONTENTS, st.booleans(), st.integers(1, 6))
def test_each_rule_removes_what_a_sweep_with_it_alone_would(
    databases: Any, kind: str, contents: Any, merge_scopes: bool, batch_size: int
) -> None:
    """Whether it is on or not."""

    def options(rules: RulesConfig) -> Options:
        config = Config(merge_scopes=merge_scopes, rules=rules)
        return Options(batch_size, Ruleset.of(config), dry_run=True, now_ts=2**40)

    queues = fill(databases[kind], *contents)
    found = surveyed(Survey(queues, options(ALL_RULES), 1)).swept.rules
    for name in (names := attrs.asdict(ALL_RULES)):
        only = RulesConfig(**{each: each == name for each in names})
        sweep = Sweep(queues, options(only))
        while not sweep.progress.done:
            driven(sweep.step())
        assert sweep.progress.rules.get(name) == found.get(name)


@given(st.sampled_from(KINDS), CONTENTS, MIDDLES, st.integers(1, 4), st.integers(1, 6))
def test_parts_find_together_what_plain_counting_says(
    databases: Any, kind: str, contents: Any, middle: str, limit: int, batch_size: int
) -> None:
    """As one survey of everything does, wherever a batch ends."""
    options = Options(batch_size, Ruleset.of(Config(rules=ALL_RULES)), dry_run=True)
    inbox, outbox, owners = contents
    queues = fill(databases[kind], *contents)
    whole = surveyed(Survey(queues, options, limit))
    both = surveyed(Survey(queues, options, limit, down_to=middle))
    both.follow(surveyed(Survey(queues, options, limit, below=middle)))
    assert said(whole) == said(both)
    for queue, table in ((whole.inbox, inbox), (whole.outbox, outbox)):
        kinds = {kind: sums.rows for kind, sums in queue.kinds.sums.items()}
        assert Counter(map(plainly, table.values())) == kinds
        assert sum(map(len, table.values())) == queue.kinds.total.bytes
        rows_of = Counter(name for name, _ in table)
        assert len(rows_of) == queue.names
        longest = sorted(rows_of.values(), reverse=True)[:limit]
        assert longest == [each.rows for each in queue.longest]
    for is_hidden, orphans in ((None, whole.gone), (True, whole.hidden)):
        keys = [key for key, _ in inbox if owners.get(key) is is_hidden]
        found = (len(keys), len(set(keys)))
        assert found == (orphans.sums.rows, orphans.mailboxes)


def said(found: Surveyed) -> Any:
    """Return what is printed of it."""
    queues = [
        (each.kinds, list(each.kinds.sums), each.names, each.longest)
        for each in (found.inbox, found.outbox)
    ]
    return (queues, found.gone, found.hidden, found.swept.rules, found.done)


def test_what_comes_meanwhile_goes_by_no_rule(database: Connection) -> None:
    """It is counted; the rules are told of what was there when the survey began."""
    queues = fill(database, dict.fromkeys([(R, 1), (R, 2), (Q, 3)], notice()))
    survey = Survey(queues, Options(batch_size=1, dry_run=True), 3)
    driven(survey.step())
    database.put(Q, 4, text=notice())
    found = surveyed(survey)
    assert (4, 1) == (found.inbox.kinds.total.rows, found.swept.total.redundant)
