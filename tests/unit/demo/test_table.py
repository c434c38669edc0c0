"""The demonstration's table."""

from __future__ import annotations

from tests.demo.measuring import Catchup, Measured
from tests.demo.output.table import Row, make_rows, render
from tests.harness.metrics.samples import total

ROWS = [Row("rows", "1,861", "31"), Row("failures", "–", "0")]  # noqa: RUF001 as shown


def make_measured(boxes: dict[str, tuple[str, ...]], **metrics: float) -> Measured:
    """Return measurements with a catch-up of three syncs in half a second."""
    return Measured(boxes, failed=0, metrics=metrics, catchup=Catchup((), 3, 0.5))


def test_plain_table_is_aligned() -> None:
    """Labels stand to the left, numbers to the right, nothing trails."""
    assert render(ROWS, markdown=False).splitlines() == [
        "          stock  with module",
        "--------  -----  -----------",
        "rows      1,861           31",
        "failures      –            0",  # noqa: RUF001 as shown
    ]


def test_markdown_table_is_aligned_by_its_rule() -> None:
    """Every line has three cells, and the rule says that numbers are to the right."""
    assert render(ROWS, markdown=True).splitlines() == [
        "|          | stock | with module |",
        "| -------- | ----: | ----------: |",
        "| rows     | 1,861 |          31 |",
        "| failures |     – |           0 |",  # noqa: RUF001 as shown
    ]


def test_rows_and_bytes_are_of_all_mailboxes() -> None:
    """Bytes are counted encoded, rows over both devices."""
    stock = make_measured({"AWAY": ("ü", "ab"), "TABLET": ("c",)})
    module = make_measured({"AWAY": ("ü",), "TABLET": ()})
    assert make_rows(stock, module)[:4] == [
        Row("rows in the mailboxes", "3", "1"),
        Row("bytes in the mailboxes", "5", "2"),
        Row("syncs until the last room key", "3", "3"),
        Row("time until the last room key", "500 ms", "500 ms"),
    ]


def test_decisions_are_shown_for_the_module_only() -> None:
    """Each decision and reason has a line; stock has nothing to show there."""
    name = (
        'synapse_withheld_decisions_total{decision="collapse",queue="inbox",'
        'reason="duplicate",rule="no_olm"}'
    )
    rows = make_rows(make_measured({}), make_measured({}, **{name: 1775.0}))
    assert Row("decisions: collapse, duplicate", "–", "1,775") in rows  # noqa: RUF001


def test_total_adds_up_labels_of_one_name_only() -> None:
    """A metric whose name begins alike is another one."""
    metrics = {'a_total{x="1"}': 1.0, 'a_total{x="2"}': 2.0, "a_total_more": 4.0}
    assert total(metrics, "a_total") == 3
