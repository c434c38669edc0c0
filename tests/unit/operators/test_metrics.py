"""The metrics and the page that describes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import CODES, SERVER_NAME_LABEL, STAGES
from synapse_withheld.operators.wording import WHAT_FAILED, WHY
from synapse_withheld.rules.content import NO_OLM, SESSION_CODES, code_of
from synapse_withheld.rules.decision import ALL as ALL_MADE

ALL = [each for each in vars(series).values() if isinstance(each, MetricWrapperBase)]
PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without backticks."""
    part = PAGE.split(heading, 1)[1]
    rows = re.search(r"(\|.*\n)+", part)
    assert rows is not None
    lines = rows[0].splitlines()[2:]
    return [
        [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
        for line in lines
    ]


def metric_line(metric: Any) -> list[str]:
    described = next(iter(metric.describe()))
    suffix = "_total" if described.type == "counter" else ""
    labels = [name for name in metric._labelnames if name != SERVER_NAME_LABEL]
    return [described.name + suffix, described.type, ", ".join(labels)]


@pytest.mark.parametrize(
    ("heading", "in_code"),
    [
        ("# Metrics", list(map(metric_line, ALL))),
        ("## Decisions", [[each.action, each.reason, WHY[each]] for each in ALL_MADE]),
        ("## Failures", [list(each) for each in WHAT_FAILED.items()]),
    ],
)
def test_the_page_and_the_code_say_the_same(
    heading: str, in_code: list[list[str]]
) -> None:
    """Metrics with their types and labels, decisions, stages in the same words."""
    width = len(in_code[0])
    assert in_code == [row[:width] for row in table(heading)]


def test_there_are_words_for_all_that_is_counted() -> None:
    """And for nothing else; no two decisions share them."""
    assert list(STAGES) == list(WHAT_FAILED)
    assert set(ALL_MADE) == WHY.keys()
    assert len(ALL_MADE) == len(set(WHY.values()))


def test_a_rate_sees_the_first_burst() -> None:
    """Every decision that may be made is counted from zero, in each queue."""
    metrics = Metrics("zero.test")
    metrics.begin(["no_olm", "withheld"], ["inbox", "outbox"])
    told = [labels for labels, _ in metrics.read(series.DECISIONS)]
    if not SERVER_NAME_LABEL:
        told = [each for each in told if each["rule"] in ("no_olm", "withheld")]
    assert len(told) == 2 * 2 * len(ALL_MADE)
    assert len(metrics.read(series.MESSAGES)) == len(CODES) * 2
    for metric in (series.COLLAPSED_BYTES, series.TIDIED, series.REARMED):
        assert len(metrics.read(metric)) == 2


def test_every_code_of_a_message_is_known() -> None:
    contents: list[Any] = [
        *({"code": code} for code in (*SESSION_CODES, NO_OLM, "made up", 1)),
        {"code": NO_OLM, "algorithm": "m.megolm.v1.aes-sha2", "sender_key": "key"},
    ]
    assert set(map(code_of, contents)) == set(CODES)


def test_no_label_holds_an_identifier() -> None:
    allowed = {SERVER_NAME_LABEL, "code", "source", "decision", "queue", "reason"}
    allowed |= {"rule", "direction", "stage", "version", "mode", "repeat", "work"}
    assert {name for metric in ALL for name in metric._labelnames} <= allowed
