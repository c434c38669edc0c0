"""How much both databases look at for each statement, however much there is."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, Tuple

import pytest

from synapse_withheld.database import (
    backlog,
    inbox,
    inbox_deletions,
    outbox,
    survey,
)
from synapse_withheld.database.sql import ABOVE_ALL
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from tests.store.conftest import Connection, connected

MODULES = (backlog, inbox, inbox_deletions, outbox, survey)

# Mailboxes of the 5,000 that the tables are filled with, and of the one that most
# rows are in: what a planner believes about one must not spoil the other.
KEYS: list[MailboxKey] = [(f"@u{n}:hs{n}", "D") for n in range(1, 21)]
BIG: MailboxKey = ("@big:big", "D")
ASKED = [*KEYS, BIG]
ROWS = [*((key, 15_000 + n) for n, key in enumerate(KEYS, 1)), (BIG, 120_000)]
MARKS = ["m.no_olm", "m.room_key_request"]
MANY, LOWER = dict.fromkeys(KEYS[:10], ABOVE_ALL), dict.fromkeys(KEYS[:2], 100_000)
SUPERSEDED = [Superseded(key, 5000 + n, 10_000 + n) for n, key in enumerate(KEYS, 1)]
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
    "delete": (inbox_deletions.withheld_delete_superseded, ("driver", SUPERSEDED)),
    "delete, big": (inbox_deletions.withheld_delete_superseded, ("driver", NARROW)),
    "delete vanished": (inbox_deletions.withheld_delete_vanished, ("driver", ROWS)),
    "delete EDUs": (outbox.withheld_delete_superseded_edus, ("driver", SUPERSEDED)),
    "delete EDUs, big": (outbox.withheld_delete_superseded_edus, ("driver", NARROW)),
    "devices": (inbox.withheld_read_devices, ([user for user, _ in KEYS],)),
    "gone": (inbox.withheld_read_gone, (ASKED,)),
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

# It counts devices, of which there are few beside their messages.
WALKS_A_TABLE = "survey middle"

ROWS_OF_TABLE = 100_000
# SQLite counts what its virtual machine does, a few steps for each row; PostgreSQL the
# rows that each part of its plan looks at.
MOST_STEPS, MOST_ROWS = 150_000, 10_000


@pytest.fixture(scope="module", params=["sqlite", "sqlite, not analysed", "postgres"])
def filled(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Fill all tables, and let the planner know; nobody does that for SQLite."""
    kind, _, unknown = request.param.partition(", ")
    with connected(kind, request) as database:
        host = "'hs' || (n - n / 5000 * 5000)"
        user = f"'@u' || (n - n / 5000 * 5000) || ':' || {host}"
        single = "'@u' || n || ':hs' || n"
        task = '\'{"user_id":"\' || n || \'","device_id":"D","up_to_stream_id":1}\''
        for table, values in (
            ("device_inbox", f"{user}, 'D', n, '{{}}'"),
            ("device_inbox", "'@big:big', 'D', 100000 + n, '{}'"),
            ("device_federation_outbox", f"{host}, n, 0, '{{}}', NULL"),
            ("device_federation_outbox", "'big', 100000 + n, 0, '{}', NULL"),
            ("devices", f"{single}, 'D', n < 0"),
            ("dehydrated_devices", f"{single}, 'D'"),
            ("device_lists_stream", f"n, {user}, 'D'"),
            ("users", single),
            ("device_lists_remote_cache", f"{single}, 'D', '{{}}'"),
            ("device_lists_remote_extremeties", f"{single}, '1'"),
            ("device_lists_remote_resync", f"{single}, n"),
            # Synapse keeps it small.
            ("scheduled_tasks", f"n, 'other', 'complete', 'D', {task}"),
        ):
            rows = 1000 if table == "scheduled_tasks" else ROWS_OF_TABLE
            sql = f"""
                INSERT INTO {table} WITH RECURSIVE c(n) AS
                (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
                SELECT {values} FROM c
            """  # noqa: S608 our own
            database.execute(sql)
        database.add_device(BIG)
        if not unknown:
            database.execute("ANALYZE")
        yield database


class Measured:
    """A transaction that tells how much the database looks at for a statement."""

    rowcount = 0

    def __init__(self, database: Connection) -> None:
        self.database = database
        self.share = 0.0

    def execute(self, sql: str, parameters: Any) -> None:
        if self.database.is_sqlite:
            self.database.raw.set_progress_handler(self._go_on, MOST_STEPS // 100)
            self.database.rows(sql, *parameters)
        elif not sql.startswith("EXPLAIN"):
            explain = "EXPLAIN (ANALYZE, FORMAT JSON)"
            (((whole,),),) = self.database.rows(f"{explain} {sql}", *parameters)
            self.share = _rows_looked_at(whole["Plan"]) / MOST_ROWS

    def fetchall(self) -> list[Any]:
        return []

    def _go_on(self) -> None:
        self.share += 0.01


def _rows_looked_at(plan: dict[str, Any]) -> float:
    each_time = sum(
        plan[name] for name in plan if re.match("Actual Rows|Rows Removed", name)
    )
    within = sum(map(_rows_looked_at, plan.get("Plans", ())))
    return float(each_time * plan["Actual Loops"] + within)


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
def test_no_statement_looks_at_more_than_it_is_about(
    filled: Connection, case: str
) -> None:
    """Whatever a planner believes about a pattern, a mailbox or an outbox.

    It walks no table and no long mailbox, and sorts neither.
    """
    function, arguments = CASES[case]
    measured = Measured(filled)
    # Nothing is not what some expect.
    with suppress(ValueError):
        function(measured, *(filled.driver if a == "driver" else a for a in arguments))
    assert (measured.share > 1) == (case == WALKS_A_TABLE)
