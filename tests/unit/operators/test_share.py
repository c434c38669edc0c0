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
from tests.harness.metrics import dashboards


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


def matchers() -> list[list[tuple[str, str, str]]]:
    """Return the label matchers of what the rules record as repeats."""
    (expression,) = [
        rule["expr"]
        for rule in dashboards.rules()
        if rule.get("record") == "server_name_queue:synapse_withheld_repeats:increase1h"
    ]
    return [
        re.findall(r'(\w+)(=~|!~|=)"([^"]*)"', each)
        for each in re.findall(r"decisions_total\{(.*?)\}", expression)
    ]


def is_recorded(labels: dict[str, str]) -> bool:
    """Say whether a series is one of those."""
    return any(
        all(
            (re.fullmatch(value, labels[name]) is not None) == (how != "!~")
            for name, how, value in selector
        )
        for selector in matchers()
    )


@pytest.mark.parametrize("rule", ["no_olm", "withheld", "key_requests"])
def test_prometheus_has_the_same_definition(rule: str) -> None:
    """Of every decision there is."""
    for each in decision.ALL:
        labels = {"rule": rule, "decision": each.action, "reason": each.reason}
        assert is_repeat(rule, each) == is_recorded(labels)
