"""The share of repeats that collapsed."""

from __future__ import annotations

import re

import pytest

from synapse_withheld.operators.share import collapsed_share, is_repeat
from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import (
    DUPLICATE,
    FIRST,
    NEW_KEY,
    OVERDUE,
    READ,
    REPEATED,
)
from tests.harness import dashboards


def test_it_is_that_of_what_was_repeated() -> None:
    """First notices count for nothing, nor what can not collapse."""
    counts = [
        ("no_olm", DUPLICATE, 60),
        ("withheld", DUPLICATE, 3),
        ("withheld", NEW_KEY, 7),
        ("no_olm", OVERDUE, 10),
        ("no_olm", READ, 1000),
        ("no_olm", FIRST, 1000),
        ("key_requests", REPEATED, 1000),
    ]
    assert 63 / 80 == collapsed_share(counts)
    assert collapsed_share(counts[-3:]) is None


def divisors() -> list[str]:
    """Return what the rules and the dashboard divide by, where they show the share."""
    (recorded,) = [
        rule["expr"]
        for rule in dashboards.rules()
        if rule.get("record") == "server_name_queue:synapse_withheld_repeats:increase1h"
    ]
    shown = [
        expression.split(" / ")[1]
        for _, expression in dashboards.panel_queries()
        if "collapse|supersede" in expression
    ]
    assert len(shown) == 2
    return [recorded, *shown]


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


@pytest.mark.parametrize("expression", divisors(), ids=["alert", "now", "over time"])
@pytest.mark.parametrize("rule", ["no_olm", "withheld", "key_requests"])
def test_prometheus_has_the_same_definition(rule: str, expression: str) -> None:
    for each in decision.ALL:
        labels = {"rule": rule, "decision": each.action, "reason": each.reason}
        assert is_repeat(rule, each) == is_in(expression, labels)
