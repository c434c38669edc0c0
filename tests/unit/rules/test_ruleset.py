"""The rules that an operator chose."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given

from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.ruleset import Ruleset
from tests.harness.messages import WITHHELD, make_notice
from tests.harness.rules import EVERY_RULE
from tests.unit.rules.test_redundant import MESSAGES, Message

EVERYTHING = Ruleset.of(Config(rules=EVERY_RULE))


def test_every_name_of_the_configuration_is_a_rule() -> None:
    """Of which one is on by default."""
    names = [each.name for each in attrs.fields(RulesConfig)]

    assert names == [rule.name for rule in EVERYTHING.rules]
    assert (NoOlm(),) == Ruleset.of(Config()).rules
    assert (NoOlm(merge_scopes=False),) == Ruleset.of(Config(merge_scopes=False)).rules


@pytest.mark.parametrize("chosen", [True, "vanish"])
@pytest.mark.parametrize("name", ["key_requests", "secret_requests"])
def test_cancellations_vanish_where_that_is_chosen(name: str, chosen: Any) -> None:
    rules = Ruleset.of(Config(rules=attrs.evolve(EVERY_RULE, **{name: chosen}))).rules

    expected = [name] if chosen == "vanish" else []
    assert expected == [rule.name for rule in rules if rule.vanishes]


def test_where_types_say_enough_no_code_is_looked_for() -> None:
    def marks(**chosen: bool) -> tuple[str, ...]:
        return Ruleset.of(Config(rules=RulesConfig(**chosen))).marks

    assert ("m.no_olm",) == marks()
    assert ("m.no_olm", "m.secret.request") == marks(secret_requests=True)
    assert ("room_key.withheld",) == marks(withheld=True)
    assert ("room_key.withheld",) == marks(withheld=True, no_olm=False)


@given(MESSAGES)
def test_no_two_rules_name_one_message(message: Message) -> None:
    """And what names it says so in every row."""
    said = (message.sender, message.type, message.content)
    of = [rule for rule in EVERYTHING.rules if message.type in rule.types]
    found = [notice for rule in of if (notice := rule.read(*said))]

    assert found == [EVERYTHING.read(*said)]
    assert any(mark in repr(said) for mark in found[0].rule.marks)
    assert any(mark in repr(said) for mark in EVERYTHING.marks)


@pytest.mark.parametrize("odd", [None, 7, ["m.room_key.withheld"], {}])
@pytest.mark.parametrize("key", ["type", "sender"])
def test_a_row_with_an_odd_type_or_sender_is_no_notice(key: str, odd: object) -> None:
    """Another server may have sent anything."""
    content = make_notice("key", "DEVICE")
    message = {"sender": "@s:here", "type": WITHHELD, "content": content}

    found = EVERYTHING.read("@s:here", WITHHELD, content)
    assert EVERYTHING.recognise(message) == found is not None
    assert EVERYTHING.recognise({**message, key: odd}) is None
    assert EVERYTHING.recognise({k: v for k, v in message.items() if k != key}) is None
