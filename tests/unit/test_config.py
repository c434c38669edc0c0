"""The configuration and its worded errors."""

from __future__ import annotations

from typing import Any

import pytest
from synapse.module_api.errors import ConfigError

from synapse_withheld import WithheldModule
from synapse_withheld.config import (
    Config,
    InvalidConfigError,
    RulesConfig,
    SweepConfig,
    parse,
)
from synapse_withheld.module import _say_what_stays


@pytest.mark.parametrize("empty", [None, {}])
def test_no_config_is_the_default(empty: object) -> None:
    """Every key is optional."""
    assert Config() == parse(empty)


def test_every_key_is_read() -> None:
    """Each key ends in an attribute of its own."""
    written = {
        "mode": "observe",
        "repeat": "queued",
        "session_hold": "2h",
        "outbox": False,
        "merge_scopes": False,
        "max_pairs": 1000,
        "pages": False,
        "on_unknown_synapse": "refuse",
        "sweep": {"enabled": True, "batch_size": 5, "pause": "2s"},
        "rules": {
            "no_olm": False,
            "withheld": True,
            "key_requests": True,
            "secret_requests": "vanish",
            "verification_requests": True,
        },
    }
    sweep = SweepConfig(enabled=True, batch_size=5, pause_ms=2000)

    assert Config(
        "observe",
        "queued",
        7_200_000,
        False,
        False,
        1000,
        False,
        "refuse",
        sweep,
        RulesConfig(False, True, True, "vanish", True),
    ) == parse(written)
    assert 0 == parse({"sweep": {"pause": 0}}).sweep.pause_ms


@pytest.mark.parametrize(
    ("written", "expected_ms"),
    [
        ("24h", 86_400_000),
        ("30m", 1_800_000),
        ("7d", 604_800_000),
        ("5s", 5000),
        ("1w", 604_800_000),
        ("1y", 31_536_000_000),
        (1500, 1500),
        ("1500", 1500),
    ],
)
def test_durations_are_as_synapse_writes_them(
    written: object, expected_ms: int
) -> None:
    """A unit, or milliseconds."""
    assert expected_ms == parse({"session_hold": written}).session_hold_ms


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"mode": "off"}, "'mode' must be one of: enforce, observe; found 'off' (str)"),
        ({"mode": True}, "'mode' must be one of: enforce, observe; found True (bool)"),
        ({"outbox": "yes"}, "'outbox' must be true or false; found 'yes' (str)"),
        ({"merge_scopes": 1}, "'merge_scopes' must be true or false; found 1 (int)"),
        ({"max_pairs": 0}, "'max_pairs' must be a whole number, 1 or more; found 0"),
        ({"max_pairs": 999}, "'max_pairs' must be at least 1000; found 999 (int)"),
        ({"max_pairs": True}, "'max_pairs' must be a whole number"),
        ({"max_pairs": "9"}, "'max_pairs' must be a whole number"),
        (
            {"max_mailboxes": 9},
            "unknown key 'max_mailboxes'; the known keys are: mode,",
        ),
        ({"session_hold": "24 hours"}, "'session_hold' must be a duration such as 24h"),
        ({"session_hold": "0s"}, "'session_hold' must be a duration"),
        ({"session_hold": -5}, "'session_hold' must be a duration"),
        ({"session_hold": True}, "'session_hold' must be a duration"),
        ({"session_hold": "٣h"}, "'session_hold' must be a duration"),
        ({"on_unknown_synapse": "x"}, "must be one of: deliver, refuse"),
        ({"repeat": "always"}, "'repeat' must be one of: queued, session"),
        ({"sweep": True}, "'sweep' must be a mapping of enabled, batch_size, pause;"),
        ({"sweep": {"enabled": 1}}, "'sweep.enabled' must be true or false; found 1"),
        ({"sweep": {"batch_size": 0}}, "'sweep.batch_size' must be a whole number"),
        ({"sweep": {"batch_size": 10001}}, "'sweep.batch_size' must be at most 10000"),
        ({"sweep": {"pause": -1}}, "'sweep.pause' must be a duration"),
        ({"sweep": {"pause": False}}, "'sweep.pause' must be a duration"),
        (
            {"sweep": {"pauze": 1}},
            "unknown key 'sweep.pauze'; the known keys are: sweep.enabled, ",
        ),
        ({"rules": ["withheld"]}, "'rules' must be a mapping of no_olm, withheld, "),
        ({"rules": {"withheld": 1}}, "'rules.withheld' must be true or false; found 1"),
        (
            {"rules": {"withheld": "vanish"}},
            "'rules.withheld' must be true or false; found 'vanish' (str)",
        ),
        (
            {"rules": {"verification_requests": "vanish"}},
            "'rules.verification_requests' must be true or false; found 'vanish'",
        ),
        (
            {"rules": {"key_requests": "Vanish"}},
            "'rules.key_requests' must be true, false or vanish; found 'Vanish' (str)",
        ),
        (
            {"rules": {"secret_requests": 1}},
            "'rules.secret_requests' must be true, false or vanish; found 1 (int)",
        ),
        (
            {"rules": {"room_keys": True}},
            (
                "unknown key 'rules.room_keys'; the known keys are: rules.no_olm, "
                "rules.withheld, rules.key_requests, rules.secret_requests, "
                "rules.verification_requests"
            ),
        ),
        ({1: 2}, "unknown key 1; the known keys are: mode,"),
        (
            {"modus": "enforce"},
            "unknown key 'modus'; the known keys are: mode, repeat,",
        ),
        (
            ["mode"],
            "'config' must be a mapping of keys to values, found ['mode'] (list)",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    written: object, says: str
) -> None:
    """The error names the key, what was found and what would be right."""
    with pytest.raises(InvalidConfigError) as raised:
        parse(written)

    assert says in str(raised.value)


def test_rules_tell_of_which_cancellations_vanish() -> None:
    """By default of none."""
    vanish = "vanish"

    assert [] == RulesConfig(key_requests=True).vanishing
    assert ["secret_requests"] == RulesConfig(secret_requests=vanish).vanishing
    assert ["key_requests", "secret_requests"] == RulesConfig(
        key_requests=vanish, secret_requests=vanish
    ).vanishing


@pytest.mark.parametrize(
    ("rules", "sees_reads", "told"),
    [
        ({"key_requests": "vanish"}, False, ["rules.key_requests"]),
        ({"key_requests": "vanish"}, True, []),
        ({"secret_requests": "vanish"}, False, ["rules.secret_requests"]),
        ({"key_requests": True}, False, []),
    ],
)
def test_the_log_says_where_vanish_works_as_true(
    rules: dict[str, Any],
    sees_reads: bool,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A line for each such key."""
    _say_what_stays(Config(rules=RulesConfig(**rules)), sees_reads=sees_reads)

    assert told == [
        text.partition("'")[2].partition(":")[0] for text in caplog.messages
    ]
    assert all("with workers" in text for text in caplog.messages)


def test_a_long_value_is_cut_in_the_error() -> None:
    """A file pasted in the wrong place does not end up in the log."""
    with pytest.raises(InvalidConfigError) as raised:
        parse({"mode": "x" * 1000})

    assert len(str(raised.value)) < 200


def test_synapse_sees_a_config_error() -> None:
    """Synapse stops with its own kind of error."""
    with pytest.raises(ConfigError, match="unknown key"):
        WithheldModule.parse_config({"modus": 1})
