"""The rules that an operator chose."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules.notice import MOST_VARIANT
from synapse_withheld.rules.ruleset import Ruleset
from tests.harness.rules import EVERY_RULE
from tests.model.test_rules import messages

EVERYTHING = Ruleset.of(Config(rules=EVERY_RULE))
NAMES = [each.name for each in attrs.fields(RulesConfig)]


def test_every_name_of_the_configuration_is_a_rule() -> None:
    """In the same order."""
    assert NAMES == [rule.name for rule in EVERYTHING.rules]


@pytest.mark.parametrize("name", NAMES)
def test_each_rule_can_be_on_by_itself(name: str) -> None:
    """And names its own messages alone."""
    chosen = RulesConfig(**{each: each == name for each in NAMES})
    (rule,) = Ruleset.of(Config(rules=chosen)).rules

    assert name == rule.name


def test_by_default_there_is_one_rule() -> None:
    """The one that this began with."""
    assert ["no_olm"] == [rule.name for rule in Ruleset.of(Config()).rules]


def test_no_rule_names_nothing() -> None:
    """Then the module acts on nothing."""
    none = Ruleset.of(Config(rules=RulesConfig(no_olm=False)))

    assert (frozenset(), ()) == (none.types, none.marks)


@given(messages)
def test_no_two_rules_name_one_message(message: tuple[str, dict[str, object]]) -> None:
    """And what names it says so in every row."""
    message_type, content = message
    of = [rule for rule in EVERYTHING.rules if message_type in rule.types]
    found = [
        notice for rule in of if (notice := rule.read("@s:hs", message_type, content))
    ]

    assert found == [notice for notice in [_read(message)] if notice]
    for notice in found:
        assert any(mark in repr(message) for mark in notice.rule.marks)
        assert 0 <= notice.variant <= MOST_VARIANT


def _read(message: tuple[str, dict[str, object]]) -> object:
    return EVERYTHING.read("@s:hs", *message)
