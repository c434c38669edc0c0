"""The metrics and the page that describes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import ALL, CODES, SERVER_NAME_LABEL, STAGES
from synapse_withheld.operators.wording import WHAT_FAILED
from synapse_withheld.rules import decision
from synapse_withheld.rules.content import NO_OLM, SESSION_CODES, code_of

if TYPE_CHECKING:
    from prometheus_client import Counter

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
    """The page of server admins tells failures in those of the documentation."""
    assert list(STAGES) == list(WHAT_FAILED)
    assert list(WHAT_FAILED.values()) == [row[1] for row in table("## Failures")]


def labels_of(metric: Counter, server: str) -> list[dict[str, str]]:
    """Return the labels of each series of a homeserver."""
    return [labels for labels, _ in Metrics(server).read(metric)]


def test_a_rate_sees_the_first_burst() -> None:
    """Every decision that may be made is counted from zero, in each queue."""
    server = "zero.test"
    Metrics(server).begin(["no_olm", "withheld"], ["inbox", "outbox"])
    told = labels_of(series.DECISIONS, server)
    if not SERVER_NAME_LABEL:
        told = [each for each in told if each["rule"] in ("no_olm", "withheld")]
    assert len(told) == 2 * 2 * len(decision.ALL)
    assert len(labels_of(series.MESSAGES, server)) == len(CODES) * 2
    for metric in (series.COLLAPSED_BYTES, series.TIDIED, series.REARMED):
        assert len(labels_of(metric, server)) == 2


def test_every_code_of_a_message_is_known() -> None:
    """Also where it is made up."""
    contents: list[Any] = [
        *({"code": code} for code in (*SESSION_CODES, NO_OLM, "made up", 1)),
        {"code": NO_OLM, "algorithm": "m.megolm.v1.aes-sha2", "sender_key": "key"},
    ]
    assert set(map(code_of, contents)) == set(CODES)


def test_no_label_holds_an_identifier() -> None:
    """Labels are from small fixed sets."""
    allowed = {SERVER_NAME_LABEL, "code", "source", "decision", "queue", "reason"}
    allowed |= {"rule", "direction", "stage", "version", "mode", "repeat", "work"}

    assert {name for metric in ALL for name in metric._labelnames} <= allowed


def test_every_metric_has_a_help_text() -> None:
    """Operators read it in Prometheus."""
    assert all(len(metric._documentation) > 10 for metric in ALL)
