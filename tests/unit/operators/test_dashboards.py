"""The dashboard and the rules fit the metrics and what is written about them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.harness import dashboards

# Those of Synapse's own dashboard: the newest ones have `server_name`, those for
# Synapse before 1.135 `instance`.
VARIABLES = {"datasource", "bucket_size", "server_name", "instance", "job", "index"}
# What Prometheus adds, or its operator; `le` is of every histogram.
ADDED = {"server_name", "instance", "job", "index", "le"}

EXPRESSIONS = list(dashboards.expressions())
ALERTS = [rule for rule in dashboards.rules() if "alert" in rule]


def named(pairs: list[tuple[str, str]]) -> Any:
    """Run a test for each pair, under the name that is its first half."""
    return pytest.mark.parametrize(
        "expression", [text for _, text in pairs], ids=[name for name, _ in pairs]
    )


def documented() -> dict[str, set[str]]:
    text = (dashboards.DOCS / "metrics.md").read_text()
    rows = re.findall(r"^\| `(synapse_withheld_\w+)` \| \w+ \|([^|]*)\|", text, re.M)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


@named(EXPRESSIONS)
def test_what_is_asked_for_is_documented(expression: str) -> None:
    """A metric or label that is renamed would leave an empty panel, a silent alert."""
    asked = dashboards.metrics_in(expression)
    assert asked or ":synapse_withheld_" in expression
    assert asked - documented().keys() == set()
    # Labels of at least one of the metrics that the expression names.
    known = ADDED.union(*(documented()[name] for name in asked or documented()))
    matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    labels = {*matched, *(each for group in grouped for each in group.split(", "))}
    assert labels - known == set()


def test_every_metric_is_on_the_dashboard() -> None:
    shown = [dashboards.metrics_in(text) for _, text in dashboards.panel_queries()]
    assert documented().keys() - set().union(*shown) == set()


@named(list(dashboards.rule_queries()))
def test_a_rule_reads_only_what_another_records(expression: str) -> None:
    """A record that is renamed would silence an alert."""
    recorded = {rule["record"] for rule in dashboards.rules() if "record" in rule}
    names = {each.partition("{")[0] for each in dashboards.selectors_in(expression)}
    assert {name for name in names if ":" in name} - recorded == set()


@named(list(dashboards.panel_queries()))
def test_a_panel_shows_the_chosen_processes(expression: str) -> None:
    """Each selector has all four variables of Synapse's own dashboard, and no other.

    So that links between the two keep what is chosen.
    """
    for selector in dashboards.selectors_in(expression):
        for name in ("server_name", "instance", "job", "index"):
            assert f'{name}=~"${name}"' in selector
    assert set(re.findall(r"\$(\w+)", expression)) - VARIABLES == set()
    assert {each["name"] for each in dashboards.variables()} == VARIABLES


def test_panels_neither_overlap_nor_share_an_id() -> None:
    """Grafana would move them, or show one in the place of another."""
    panels = dashboards.dashboard()["panels"]
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_is_explained_and_tested() -> None:
    """What to do about it is in docs/dashboards.md, in a section of its own."""
    alerts = {rule["alert"] for rule in ALERTS}
    text = (dashboards.DOCS / "dashboards.md").read_text()
    assert set(re.findall(r"^### (Withheld\w+)$", text, re.M)) == alerts
    tests = dashboards.RULE_TESTS.read_text()
    assert {each for each in alerts if each not in tests} == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda each: str(each["alert"]))
def test_an_alert_says_that_nothing_is_lost_and_leads_to_its_section(
    alert: dict[str, Any],
) -> None:
    """Whoever is woken reads that first, whether it can wait, and where to look."""
    # One slow statement wakes nobody.
    assert "for" in alert
    told = alert["annotations"]
    assert told["description"].startswith("Nothing is lost: ")
    assert "It can wait" in told["description"]
    assert re.search(r"Look (which|for)", told["description"])
    path, _, section = told["runbook_url"].partition("#")
    text = (dashboards.DOCS.parent / path).read_text()
    assert section in {each.lower() for each in re.findall(r"^#+ (.*)$", text, re.M)}
    assert section == alert["alert"].lower()
