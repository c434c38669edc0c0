"""What the demonstration prints."""

from __future__ import annotations

from io import StringIO

import pytest

from tests.demo.measuring import Catchup, Measured
from tests.demo.output.progress import LINE_EVERY, Progress
from tests.demo.output.table import aligned, make_rows

ROWS = [("", "stock", "module"), ("rows", "1,861", "31"), ("failures", "-", "0")]


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        (
            False,
            [
                "          stock  module",
                "--------  -----  ------",
                "rows      1,861      31",
                "failures      -       0",
            ],
        ),
        (
            True,
            [
                "|          | stock | module |",
                "| -------- | ----: | -----: |",
                "| rows     | 1,861 |     31 |",
                "| failures |     - |      0 |",
            ],
        ),
    ],
)
def test_a_table_is_aligned(markdown: bool, lines: list[str]) -> None:
    """Labels to the left, numbers to the right."""
    assert lines == aligned(ROWS, markdown=markdown).splitlines()


def make_measured(boxes: dict[str, tuple[str, ...]], **metrics: float) -> Measured:
    """Return measurements with a catch-up of three syncs in half a second."""
    return Measured(boxes, failed=0, metrics=metrics, catchup=Catchup((), 3, 0.5))


def test_rows_and_bytes_are_of_all_mailboxes_and_decisions_of_the_module() -> None:
    """Bytes are counted encoded."""
    name = (
        'synapse_withheld_decisions_total{decision="collapse",queue="inbox",'
        'reason="duplicate",rule="no_olm"}'
    )
    stock = make_measured({"AWAY": ("ü", "ab"), "TABLET": ("c",)})
    module = make_measured({"AWAY": ("ü",), "TABLET": ()}, **{name: 1775.0})
    assert make_rows(stock, module)[:6] == [
        ("rows in the mailboxes", "3", "1"),
        ("bytes in the mailboxes", "5", "2"),
        ("syncs until the last room key", "3", "3"),
        ("time until the last room key", "500 ms", "500 ms"),
        ("requests that failed", "0", "0"),
        ("decisions: collapse, duplicate", "–", "1,775"),  # noqa: RUF001 as shown
    ]


@pytest.mark.parametrize(
    ("terminal", "requests", "said"),
    [
        (False, LINE_EVERY + 1, "  500 of 501 requests\n  501 of 501 requests\n"),
        (True, 2, "\r  1 of 2 requests\r  2 of 2 requests\n"),
    ],
)
def test_requests_are_counted(terminal: bool, requests: int, said: str) -> None:
    """In place on a terminal; elsewhere there are few lines."""
    stream = StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    progress = Progress(stream, total=requests)
    for _ in range(requests):
        progress.sent()
    assert said == stream.getvalue()
