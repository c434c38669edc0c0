"""The benchmark's helpers count and judge as they say."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench.__main__ import PARTS, parse
from tests.bench.instruments.load import answer
from tests.bench.instruments.sqllog import parse as parse_log
from tests.bench.report import Table, Target, failed, render
from tests.bench.sizes import FULL, QUICK

LOG = """\
PUT-7 [SQL] {withheld_read_queued-36d} SELECT 'row' FROM queued
PUT-7 [SQL values] {withheld_read_queued-36d} ('PUT-7 [SQL] {no-1} SELECT')
PUT-7 [SQL time] {withheld_read_queued-36d} 0.0006 sec
PUT-8 [SQL] {add_local-1a} INSERT INTO device_inbox VALUES (?)
PUT-8 [SQL] {add_local-1a} SELECT 1
withheld_tidy-0 [SQL] {withheld_delete_superseded-1b} DELETE FROM device_inbox
delayed_events.notify_new_event-188 [SQL] {get_count_of_delayed_events-36e} SELECT 1
Something else that is logged
"""


def test_statements_are_told_by_what_they_are_for() -> None:
    """Those of requests and of the module count apart from Synapse's other work."""
    found = parse_log(LOG)
    assert found.of_requests == {
        "withheld_read_queued": 1,
        "add_local": 2,
        "withheld_delete_superseded": 1,
    }
    assert (found.total, found.of_module, found.of_itself) == (4, 2, 1)


def test_only_a_missed_target_about_counts_fails_the_run() -> None:
    """A missed timing does not."""
    targets = [
        Target("a", "0", "0", met, binding=binding)
        for met in (True, False)
        for binding in (True, False)
    ]
    assert failed(targets) == [targets[2]]


def test_table_is_markdown() -> None:
    """Columns are aligned; notes follow."""
    table = Table("Title", ("a", "b"), [("first", "1"), ("x", "1,000")], ["Why."])
    assert render(table).splitlines() == [
        "### Title",
        "",
        "| a     |     b |",
        "| ----- | ----: |",
        "| first |     1 |",
        "| x     | 1,000 |",
        "",
        "- Why.",
    ]


def test_command_line() -> None:
    """All parts in full by default; parts keep their order."""
    assert (parse([]).parts, parse([]).sizes) == (PARTS, FULL)
    chosen = parse(["--quick", "--only", "storm", "--only", "code"])
    assert (chosen.parts, chosen.sizes) == (("code", "storm"), QUICK)


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_an_answer_is_read_to_its_end(text: bytes) -> None:
    """So that the next one on the connection begins where it does."""

    async def read_two() -> list[bytes]:
        reader = asyncio.StreamReader()
        reader.feed_data(text + text.replace(b"200 OK", b"500 Oh"))
        return [await answer(reader), await answer(reader)]

    assert asyncio.run(read_two()) == [b"200", b"500"]
