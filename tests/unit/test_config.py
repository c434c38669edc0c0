"""The configuration and its worded errors."""

from __future__ import annotations

from typing import Any, Callable

import attrs
import pytest
import yaml
from synapse.config._base import format_config_error
from synapse.module_api.errors import ConfigError
from synapse.util.module_loader import load_module

from synapse_withheld.config import (
    Config,
    InvalidConfigError,
    RulesConfig,
    duration_ms,
    parse,
)
from synapse_withheld.module import _say_what_stays

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

DURATION = "must be a duration such as 1s, 30m or 24h"
TOO_SHORT = (
    f"{DURATION}, a second or more; a number without a unit is milliseconds, 1000 or "
    "more; found "
)
UNKNOWN = "is no known key"
HOUR = "must be an hour or more, such as 24h"
PAIRS = "must be a whole number, 1000 or more"
SWEEP = "'sweep' must be true, false or {every: 24h}"
RULES = "no_olm, withheld, key_requests, secret_requests, verification_requests"
KEYS = (
    "mode, repeat, session_hold, outbox, merge_scopes, max_pairs, pages, "
    "on_unknown_synapse, sweep, rules"
)


def problem(written: object, read: Callable[[Any], object] = parse) -> str:
    with pytest.raises(InvalidConfigError) as raised:
        read(written)
    return str(raised.value)


@pytest.mark.parametrize(
    "empty", ["", "{}", "sweep:", "rules:", "sweep: {}\nrules: {}"]
)
def test_nothing_set_is_the_default(empty: str) -> None:
    """Every key is optional, and a mapping may be empty."""
    assert Config() == parse(yaml.safe_load(empty))


def test_every_key_is_read() -> None:
    written = """
      mode: observe
      repeat: session
      session_hold: 2h
      outbox: false
      merge_scopes: false
      max_pairs: 1000
      pages: false
      on_unknown_synapse: refuse
      sweep: {every: 3h}
      rules:
        no_olm: false
        withheld: true
        key_requests: true
        secret_requests: vanish
        verification_requests: true
    """
    read = parse(yaml.safe_load(written))
    rules = RulesConfig(False, True, True, "vanish", True)
    expected = ("observe", "session", 2 * HOUR_MS, False, False, 1000, False)
    assert Config(*expected, "refuse", 3 * HOUR_MS, rules) == read
    default = attrs.astuple(Config(), recurse=False)
    assert all(map(lambda one, other: one != other, default, attrs.astuple(read)))


def test_durations_are_as_synapse_writes_them() -> None:
    units = {"1s": 1000, "30m": 1_800_000, "24h": DAY_MS, "7d": 7 * DAY_MS}
    units.update({"1w": 7 * DAY_MS, "1y": 365 * DAY_MS, "1500": 1500})
    assert units == {each: duration_ms(each) for each in units}
    assert 1000 == duration_ms(1000)


def test_what_is_no_duration_is_not_taken_for_one() -> None:
    """Whatever it is, and however long; it names no key, as others ask for one."""
    wrong: list[object] = [None, True, -5, 1.5, [], {}, 16**5000, "9" * 5000]
    wrong += ["", "a day", "h", "1.5h", "24H", "1ms", "٣h", "-1h"]
    too_short = [0, 24, 999, "0", "24", "0s", "0h"]
    for says, each in (
        *((f"{DURATION}; found ", each) for each in wrong),
        *((TOO_SHORT, each) for each in too_short),
    ):
        said = problem(each, duration_ms)
        assert said.startswith(says)
        assert len(said) < 170


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("mode", f"'config' must be a mapping of {KEYS}; found the text 'mode'"),
        ("mode: 'off'", "'mode' must be enforce or observe; found the text 'off'"),
        ("mode: Observed", "found the text 'Observed'; did you mean observe?"),
        ("repeat:", "'repeat' must be queued or session; found nothing"),
        ("outbox: 'yes'", "'outbox' must be true or false; found the text 'yes'"),
        ("max_pairs: 999", f"'max_pairs' {PAIRS}; found 999"),
        ("max_pairs: true", f"'max_pairs' {PAIRS}; found true"),
        ("session_hold: 24", f"'session_hold' {TOO_SHORT}24"),
        ("session_hold: 2024-01-01", f"'session_hold' {DURATION}; found 2024-01-01"),
        ("on_unknown_synapse: x", "must be deliver or refuse; found the text 'x'"),
        ("sweep: 24h", f"{SWEEP}; found the text '24h'; did you mean {{every: 24h}}?"),
        ("sweep: {every: 24h, x: 1}", f"{SWEEP}; found a mapping of every, x"),
        ("sweep: {every: 59m}", f"'sweep.every' {HOUR}; found the text '59m'"),
        ("rules: [withheld]", f"'rules' must be a mapping of {RULES}; found a list"),
        ("rules: {no_olm: vanish}", "'rules.no_olm' must be true or false; found the"),
        ("rules: {key_requests: Vanish}", "must be true, false or vanish; found"),
        # An unknown key is a near one, or one that belongs elsewhere; else all are
        # named.
        ("merge-scopes: true", f"'merge-scopes' {UNKNOWN}; did you mean 'merge_scop"),
        ("key_requests: 1", f"'key_requests' {UNKNOWN}; did you mean 'rules.key_requ"),
        ("every: 24h", f"'every' {UNKNOWN}; did you mean 'sweep.every'?"),
        ("rules: {mode: x}", f"'rules.mode' {UNKNOWN}; did you mean 'mode'?"),
        ("rules: {xyz: 1}", f"'rules.xyz' {UNKNOWN}; the known keys are: {RULES}"),
        ("on: 2", f"'true' {UNKNOWN}; the known keys are: {KEYS}"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(written: str, says: str) -> None:
    assert says in problem(yaml.safe_load(written))


def test_a_long_value_is_cut_in_the_error() -> None:
    """A file pasted in the wrong place does not end up in the log."""
    for written in ({"mode": "x" * 1000}, {"x" * 1000: 1}, {"mode": {"x" * 1000: 1}}):
        assert len(problem(written)) < 220


def test_synapse_says_it_once() -> None:
    """With the path to it, in its own words, and none of Python's."""
    config = {"sweep": {"every": "5m"}}
    entry = {"module": "synapse_withheld.WithheldModule", "config": config}
    with pytest.raises(ConfigError) as raised:
        load_module(entry, ("modules", "<item 0>"))
    assert "".join(format_config_error(raised.value)).splitlines() == [
        "Error in configuration at 'modules.<item 0>.config.sweep.every':",
        "  Failed to parse config for module 'synapse_withheld.WithheldModule':",
        f"    'sweep.every' {HOUR}; found the text '5m'",
    ]


@pytest.mark.parametrize("sees_reads", [True, False])
def test_the_log_says_where_vanish_works_as_true(
    sees_reads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each such key, with workers."""
    rules = RulesConfig(True, False, "vanish", "vanish")
    _say_what_stays(Config(rules=rules), sees_reads=sees_reads)
    found = [text.partition("rules.")[2].partition(":")[0] for text in caplog.messages]
    assert found == ([] if sees_reads else ["key_requests", "secret_requests"])
