"""How both databases go about every statement: by an index, however much there is."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterator, Tuple

import pytest

from synapse_withheld.database import (
    backlog,
    deletions,
    devices,
    inbox,
    outbox,
    survey,
)
from synapse_withheld.database.sql import ABOVE_ALL
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from tests.store.conftest import Connection, connected

MODULES = (backlog, deletions, devices, inbox, outbox, survey)

# Mailboxes of the 5,000 that the tables are filled with, and of the one that most
# rows are in: what a planner believes about one must not spoil the other.
KEYS: list[MailboxKey] = [(f"@u{n}:hs{n}", "D") for n in range(20)]
BIG: MailboxKey = ("@big:big", "D")
ASKED = [*KEYS, BIG]
ROWS = [(key, 1) for key in ASKED]
MARKS = ["m.no_olm", "m.room_key_request"]
MANY, LOWER = dict.fromkeys(KEYS[:10], ABOVE_ALL), dict.fromkeys(KEYS[:2], 100_000)
SUPERSEDED = [Superseded(key, 1, 20_001) for key in KEYS]
NARROW = [Superseded(BIG, n, 150_000) for n in range(100_001, 100_101)]
FURTHER, FAR = ("@u300:hs300", "D", 5000), (*BIG, 120_000)
OF_SERVERS = (None, ("hs300", 5000), ("big", 120_000))

# Each statement with some arguments for it; `driver` is put in.
CASES: Dict[str, Tuple[Callable[..., Any], Tuple[Any, ...]]] = {
    "mailboxes, many": (inbox.withheld_read_mailboxes, (MANY, MARKS)),
    "mailboxes, lower": (inbox.withheld_read_mailboxes, (LOWER, MARKS)),
    "mailboxes, big": (inbox.withheld_read_mailboxes, ({BIG: ABOVE_ALL}, MARKS)),
    "outboxes, many": (outbox.withheld_read_outboxes, (MANY, MARKS)),
    "outboxes, lower": (outbox.withheld_read_outboxes, (LOWER, MARKS)),
    "outboxes, big": (outbox.withheld_read_outboxes, ({BIG: ABOVE_ALL}, MARKS)),
    "ends": (inbox.withheld_read_ends, (ASKED,)),
    "queued": (inbox.withheld_read_queued, (ROWS,)),
    "queued, one": (inbox.withheld_read_queued, (ROWS[-1:],)),
    "queued EDUs": (outbox.withheld_read_queued_edus, (ROWS,)),
    "delete": (deletions.withheld_delete_superseded, ("driver", SUPERSEDED)),
    "delete, big": (deletions.withheld_delete_superseded, ("driver", NARROW)),
    "delete vanished": (deletions.withheld_delete_vanished, ("driver", ROWS)),
    "delete EDUs": (outbox.withheld_delete_superseded_edus, ("driver", SUPERSEDED)),
    "delete EDUs, big": (outbox.withheld_delete_superseded_edus, ("driver", NARROW)),
    "devices": (devices.withheld_read_devices, ([user for user, _ in KEYS],)),
    "gone": (devices.withheld_read_gone, (ASKED,)),
    "doomed": (backlog.withheld_read_doomed, (ASKED,)),
    "newest": (backlog.withheld_read_newest, ()),
    "estimate": (backlog.withheld_estimate_backlog, ("driver",)),
    **{
        f"walk {table}, {place}": (function, ("driver", place, 1000))
        for table, function, places in (
            ("backlog", backlog.withheld_read_backlog, (None, FURTHER, FAR)),
            ("inbox", survey.withheld_survey_inbox, (None, FURTHER, FAR)),
            ("outbox", survey.withheld_survey_outbox, OF_SERVERS),
        )
        for place in places
    },
    "walk inbox, middle": (
        survey.withheld_survey_inbox,
        ("driver", FURTHER, 1000, "@u200:hs200"),
    ),
    "survey middle": (survey.withheld_survey_middle, ()),
    "survey owners": (survey.withheld_survey_owners, (ASKED,)),
}

# Of all tables but that of scheduled tasks, which Synapse keeps small; and what the
# statements call them, where they do.
NAMES = {
    *("device_inbox", "device_federation_outbox", "devices", "dehydrated_devices"),
    *("device_lists_stream", "device_lists_remote_cache", "users"),
    *("device_lists_remote_extremeties", "device_lists_remote_resync"),
    *("i", "d", "l", "h", "u", "e", "r", "c", "newer", "gone"),
}
# It counts devices, of which there are few beside their messages; and it begins at an
# end of the index and stops at its limit, which SQLite calls a scan.
MAY_WALK = {"survey middle": "devices", "walk backlog, None": "device_inbox"}

# The index that rows of a queue are read by, and the other one: of both queues.
INDEXES = (
    ("device_inbox_user_stream_id", "device_inbox_stream_id"),
    ("device_federation_outbox_destination_id", "device_federation_outbox_id"),
)


def _fill(database: Connection) -> None:
    count = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ?)"
    )
    host = "'hs' || (n - n / 5000 * 5000)"
    user = f"'@u' || (n - n / 5000 * 5000) || ':' || {host}"
    single = "'@u' || n || ':hs' || n"
    task = '\'{"user_id":"\' || n || \'","device_id":"D","up_to_stream_id":1}\''
    for table, values, rows in (
        ("device_inbox", f"{user}, 'D', n, '{{}}'", 100_000),
        ("device_inbox", "'@big:big', 'D', 100000 + n, '{}'", 50_000),
        ("device_federation_outbox", f"{host}, n, 0, '{{}}', NULL", 100_000),
        ("device_federation_outbox", "'big', 100000 + n, 0, '{}', NULL", 50_000),
        ("devices", f"{single}, 'D', n < 0", 20_000),
        ("dehydrated_devices", f"{single}, 'D'", 20_000),
        ("device_lists_stream", f"n, {user}, 'D'", 20_000),
        ("users", single, 20_000),
        ("device_lists_remote_cache", f"{single}, 'D', '{{}}'", 20_000),
        ("device_lists_remote_extremeties", f"{single}, '1'", 20_000),
        ("device_lists_remote_resync", f"{single}, n", 20_000),
        ("scheduled_tasks", f"n, 'other', 'complete', 'D', {task}", 5000),
    ):
        sql = f"INSERT INTO {table} {count} SELECT {values} FROM c"  # noqa: S608
        database.execute(sql, (rows,))


@pytest.fixture(scope="module", params=["sqlite", "sqlite, not analysed", "postgres"])
def filled(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Fill all tables, and let the planner know; nobody does that for SQLite."""
    kind, _, unknown = request.param.partition(", ")
    with connected(kind, request) as database:
        _fill(database)
        if not unknown:
            database.execute("ANALYZE")
        yield database


def plan_of(database: Connection, case: str) -> str:
    """Run a statement; return how the database goes about it, a line a step."""
    function, arguments = CASES[case]
    named = [database.driver if each == "driver" else each for each in arguments]
    database.executed.clear()
    function(database, *named)
    ((sql, parameters),) = database.executed
    if sql.startswith("EXPLAIN"):
        return ""
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    rows = database.rows(f"{explain} {sql}", *parameters)
    return "\n".join(str(row[-1]) for row in rows)


def test_every_statement_is_looked_at() -> None:
    """A new one too."""
    statements = {
        name
        for module in MODULES
        for name, each in vars(module).items()
        if name.startswith("withheld_") and each.__module__ == module.__name__
    }
    assert statements == {function.__name__ for function, _ in CASES.values()}


@pytest.mark.parametrize("case", CASES)
def test_no_statement_walks_a_table(filled: Connection, case: str) -> None:
    """Whatever a planner believes about a pattern, a mailbox or an outbox."""
    plan = plan_of(filled, case)
    walked = re.findall(r"(?:Seq Scan on|SCAN) (\w+)", plan)
    assert NAMES.intersection(walked) <= {MAY_WALK.get(case)}, plan


@pytest.mark.parametrize(
    "case", [case for case in CASES if re.search("boxes|walk", case)]
)
def test_what_is_read_in_order_is_read_from_its_own_index(
    filled: Connection, case: str
) -> None:
    """The other one would be read back from everybody's newest row.

    Nothing is sorted, but for PostgreSQL the rows of a small outbox.
    """
    plan = plan_of(filled, case)
    right, *wrong = INDEXES["outbox" in case]
    wrong += ["TEMP B-TREE"] if "boxes" in case else ["TEMP B-TREE", "Sort"]
    assert right in plan
    assert [] == [each for each in wrong if each in plan]


@pytest.mark.parametrize("case", [case for case in CASES if "delete" in case])
def test_sqlite_deletes_without_walking_the_mailbox(
    filled: Connection, case: str
) -> None:
    """Its rows are looked for by all columns of the index."""
    plan = plan_of(filled, case)
    if filled.is_sqlite:
        assert "USING INTEGER PRIMARY KEY (rowid=?)" in plan
        assert re.search(r"SEARCH gone USING COVERING INDEX .*stream_id=\?\)", plan)
