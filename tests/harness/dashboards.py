"""Read the dashboard and the rules that operators load."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Iterator

import yaml

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "prometheus" / "synapse-withheld.rules.yml"
RULE_TESTS = DOCS / "prometheus" / "synapse-withheld.test.yml"


def dashboard() -> dict[str, Any]:
    file = DOCS / "grafana" / "synapse-withheld.json"
    return dict(json.loads(file.read_text()))


def variables() -> list[dict[str, Any]]:
    return list(dashboard()["templating"]["list"])


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panel_queries() -> Iterator[tuple[str, str]]:
    """Give each panel's title, with its query's letter, and query."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']}, {target['refId']}", target["expr"]


def expressions() -> Iterator[tuple[str, str]]:
    """Give the name and text of all that Prometheus is asked."""
    yield from panel_queries()
    for rule in rules():
        yield rule.get("record") or rule["alert"], rule["expr"]


def metrics_in(expression: str) -> set[str]:
    """Return the module's metrics that an expression names.

    What rules record is none of them; a histogram's series count as the histogram.
    """
    named = r"(?<![:\w])(synapse_withheld_\w+?)(?:_bucket|_sum|_count)?\b"
    return set(re.findall(named, expression))


def selectors_in(expression: str) -> list[str]:
    """Return what an expression selects: metrics and records, with their matchers."""
    selector = r"[\w:]*synapse_withheld_\w+(?::\w+)?(?:\{[^}]*\})?"
    return re.findall(selector, expression)


def fill_in(expression: str, values: dict[str, str]) -> str:
    """Put values in the place of the dashboard's variables."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)
