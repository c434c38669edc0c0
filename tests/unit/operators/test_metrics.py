"""The metrics and the page that describes them."""

from __future__ import annotations

import re
from pathlib import Path

from synapse_withheld.operators.metrics import ALL, SERVER_NAME_LABEL, STAGES
from synapse_withheld.operators.wording import WHAT_FAILED
from synapse_withheld.rules import decision

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


def test_the_page_and_the_code_name_the_same_metrics() -> None:
    """Name, type and labels."""
    in_code = []
    for metric in ALL:
        described = next(iter(metric.describe()))
        suffix = "_total" if described.type == "counter" else ""
        labels = [name for name in metric._labelnames if name != SERVER_NAME_LABEL]
        in_code.append([described.name + suffix, described.type, ", ".join(labels)])

    assert in_code == [row[:3] for row in table("# Metrics")]


def test_the_page_and_the_code_name_the_same_reasons() -> None:
    """Every decision with its reason."""
    in_code = [[each.action, each.reason] for each in decision.ALL]

    assert in_code == [row[:2] for row in table("## Decisions")]


def test_the_page_and_the_code_name_the_same_stages() -> None:
    """Every stage that a failure can have."""
    assert list(STAGES) == [row[0] for row in table("## Failures")]


def test_of_every_stage_there_are_words_for_what_failed() -> None:
    """The page tells the last failure in them."""
    assert list(STAGES) == list(WHAT_FAILED)


def test_no_label_holds_an_identifier() -> None:
    """Labels are from small fixed sets."""
    allowed = {SERVER_NAME_LABEL, "code", "source", "decision", "queue", "reason"}
    allowed |= {"rule", "direction", "stage", "version", "mode", "repeat", "work"}

    assert {name for metric in ALL for name in metric._labelnames} <= allowed


def test_every_metric_has_a_help_text() -> None:
    """Operators read it in Prometheus."""
    assert all(len(metric._documentation) > 10 for metric in ALL)
