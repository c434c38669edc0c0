"""What pages and records name is there: sections, files, tests, what Synapse has.

And the metrics, and the page, the dashboard and the rules that are about them, of which
a real Prometheus is asked all in the end-to-end tests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Iterator

import pytest
from prometheus_client.metrics import MetricWrapperBase

from synapse_withheld.cli.tested import RELEASES as TESTED
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.series import CODES, SERVER_NAME_LABEL, STAGES
from synapse_withheld.operators.share import is_repeat
from synapse_withheld.operators.wording import WHAT_FAILED, WHY
from synapse_withheld.rules.decision import ALL
from tests.compat.environments import ROOT
from tests.compat.releases import PAGE as COMPATIBILITY
from tests.compat.releases import expected, installed, passed
from tests.harness import dashboards

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))

on_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def sections_of(page: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.*)$", text_of(page), re.M):
        yield re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")


@on_every_page
def test_a_link_leads_to_a_page_and_a_section_of_it(page: Path) -> None:
    """Those to other sites are not followed."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if not link.startswith("https://"):
            path, _, section = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), link
            assert not section or section in sections_of(target), link


@on_every_page
def test_a_test_or_a_file_that_is_named_exists(page: Path) -> None:
    """The threat model is worth what shows it."""
    text = text_of(page)
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in TESTS, name
    named = r"`((?:tests|docs|synapse_withheld|memory|rules|\.ci)/[\w./-]*)`"
    for path in re.findall(named, text):
        assert (ROOT / path).exists() or (ROOT / "synapse_withheld" / path).exists()


def test_the_readme_is_one_screen_to_decide_and_one_to_install() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= 120


def test_the_wrapped_methods_are_of_a_known_shape() -> None:
    """A new Synapse that changes one has to be looked at, and recorded."""
    assert expected() == installed()


def test_check_calls_tested_what_passed() -> None:
    assert passed(COMPATIBILITY.read_text()) == TESTED.split()


# The metrics.

METRICS = [
    each for each in vars(series).values() if isinstance(each, MetricWrapperBase)
]
PAGE = (dashboards.DOCS / "metrics.md").read_text()
# Those of Synapse's own dashboard: the newest ones have `server_name`, those for
# Synapse before 1.135 `instance`.
VARIABLES = {"datasource", "bucket_size", "server_name", "instance", "job", "index"}
# What Prometheus adds, or its operator; `le` is of every histogram.
ADDED = {"server_name", "instance", "job", "index", "le"}
ALERTS = [rule for rule in dashboards.rules() if "alert" in rule]


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without backticks."""
    rows = re.search(r"(\|.*\n)+", PAGE.split(heading, 1)[1])
    assert rows is not None
    return [
        [cell.strip().replace("`", "") for cell in line.split("|")[1:-1]]
        for line in rows[0].splitlines()[2:]
    ]


def metric_line(metric: Any) -> list[str]:
    described = next(iter(metric.describe()))
    suffix = "_total" if described.type == "counter" else ""
    labels = [name for name in metric._labelnames if name != SERVER_NAME_LABEL]
    return [described.name + suffix, described.type, ", ".join(labels)]


@pytest.mark.parametrize(
    ("heading", "in_code"),
    [
        ("# Metrics", list(map(metric_line, METRICS))),
        ("## Decisions", [[each.action, each.reason, WHY[each]] for each in ALL]),
        ("## Failures", [[stage, WHAT_FAILED[stage]] for stage in STAGES]),
    ],
)
def test_the_page_and_the_code_say_the_same(
    heading: str, in_code: list[list[str]]
) -> None:
    """Metrics with their types and labels, decisions, stages in the same words."""
    assert in_code == [row[: len(in_code[0])] for row in table(heading)]


def test_a_rate_sees_the_first_burst() -> None:
    """Every decision that may be made is counted from zero, in each queue."""
    metrics = Metrics("zero.test")
    metrics.begin(["no_olm", "withheld"], ["inbox", "outbox"])
    told = [labels for labels, _ in metrics.read(series.DECISIONS)]
    if not SERVER_NAME_LABEL:
        told = [each for each in told if each["rule"] in ("no_olm", "withheld")]
    assert len(told) == 2 * 2 * len(ALL)
    assert len(metrics.read(series.MESSAGES)) == len(CODES) * 2
    for metric in (series.COLLAPSED_BYTES, series.TIDIED, series.REARMED):
        assert len(metrics.read(metric)) == 2


def test_what_is_asked_for_has_its_labels() -> None:
    """One that is renamed would leave a legend without names."""
    rows = table("# Metrics")
    labels_of = {name: set(labels.split(", ")) for name, _, labels, *_ in rows}
    for title, expression in dashboards.expressions():
        asked = dashboards.metrics_in(expression) or labels_of
        named = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
            named += group.split(", ")
        assert set(named) <= ADDED.union(*(labels_of[name] for name in asked)), title


def test_every_metric_is_on_the_dashboard() -> None:
    shown = [dashboards.metrics_in(text) for _, text in dashboards.panel_queries()]
    assert {name for name, *_ in table("# Metrics")} <= set().union(*shown)


def test_a_panel_shows_the_chosen_processes() -> None:
    """Each selector has all four variables of Synapse's own dashboard, and no other.

    So that links between the two keep what is chosen.
    """
    assert {each["name"] for each in dashboards.variables()} == VARIABLES
    for title, expression in dashboards.panel_queries():
        assert set(re.findall(r"\$(\w+)", expression)) <= VARIABLES, title
        for selector in dashboards.selectors_in(expression):
            for name in ("server_name", "instance", "job", "index"):
                assert f'{name}=~"${name}"' in selector, title


def test_an_alert_says_that_nothing_is_lost_and_leads_to_its_section() -> None:
    """Whoever is woken reads that first, whether it can wait, and where to look."""
    text = (dashboards.DOCS / "dashboards.md").read_text()
    assert [each["alert"] for each in ALERTS] == re.findall(r"^### (W\w+)$", text, re.M)
    for alert in ALERTS:
        # One slow statement wakes nobody.
        assert "for" in alert
        assert alert["alert"] in dashboards.RULE_TESTS.read_text()
        told = alert["annotations"]
        says = r"Nothing is lost: .*It can wait.*Look (which|for)"
        assert re.match(says, told["description"], re.DOTALL)
        assert told["runbook_url"] == f"docs/dashboards.md#{alert['alert'].lower()}"


def is_in(expression: str, labels: dict[str, str]) -> bool:
    """Say whether an expression adds up a series, given those of its labels."""
    return any(
        all(
            (re.fullmatch(value, labels[name]) is not None) == (how != "!~")
            for name, how, value in re.findall(r'(\w+)(=~|!~|=)"([^"]*)"', selector)
            if name in labels
        )
        for selector in re.findall(r"decisions_total\{(.*?)\}", expression)
    )


@pytest.mark.parametrize("rule", ["no_olm", "withheld", "key_requests"])
def test_prometheus_has_the_same_definition_of_the_share(rule: str) -> None:
    """A rule records the repeats, and the dashboard divides by them twice."""
    repeats = [
        expression.split(" / ")[-1]
        for _, expression in dashboards.expressions()
        if "collapse|supersede" in expression
    ]
    assert 3 == len(repeats)
    for each in ALL:
        labels = {"rule": rule, "decision": each.action, "reason": each.reason}
        found = {is_in(expression, labels) for expression in repeats}
        assert {is_repeat(rule, each)} == found
