"""What `check` makes of what it sees; of a real Synapse in the end-to-end tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli import findings
from synapse_withheld.cli.findings import NOTE, RIGHT, UNKNOWN, WRONG, Finding
from synapse_withheld.cli.homeserver.address import Address
from synapse_withheld.cli.homeserver.configuration import MODULE, Deployment
from synapse_withheld.cli.homeserver.numbers import Page, Sample
from synapse_withheld.config import Config
from synapse_withheld.version import VERSION

README = (Path(__file__).parents[3] / "README.md").read_text()
URL = Address.of("http://[::1]/")
NOTHING, OBSERVE = {"rules": {"no_olm": False}}, {"mode": "observe"}
VANISH = {"rules": {"key_requests": "vanish"}}


def page(active: float = 1, failures: float = 0, **info: str) -> Page:
    labels = {"version": VERSION, "mode": "enforce", "repeat": "queued", **info}
    return Page(
        (
            Sample("synapse_withheld_active", {}, active),
            Sample("synapse_withheld_failures_total", {"stage": "tidy"}, failures),
            Sample("synapse_withheld_failures_total", {"stage": "decide"}, 0),
            Sample("synapse_withheld_info", labels, 1),
        )
    )


def configured(config: Any, writer: str = "master", *, redis: bool = False) -> Finding:
    shared = {"modules": [{"module": MODULE, "config": config}]}
    with_redis = {**shared, "redis": {"enabled": redis}}
    deployment = Deployment(with_redis, {"w1": {"modules": []}})
    return findings.configured(deployment, writer)[0]


def test_the_tested_versions_are_those_of_the_readme() -> None:
    stated = re.search(r"Tested with Synapse (\S+) to (\S+),", README)
    assert stated is not None
    assert stated.groups() == (findings.OLDEST_TESTED, findings.NEWEST_TESTED)


@pytest.mark.parametrize(
    ("finding", "state", "says"),
    [
        (findings.tested("1.139.2"), RIGHT, ""),
        # Whether the module acts on it, `active` says.
        (findings.tested("1.139.9"), NOTE, "not with this one"),
        (findings.tested("1.97.0"), NOTE, "not with this one"),
        (findings.tested("unknown"), NOTE, "not with this one"),
        (findings.tested(None), WRONG, "not installed here"),
        # A worker's own `modules` replaces the shared one.
        (configured(None), RIGHT, "mode: enforce, repeat: queued"),
        (configured(None, "w2"), RIGHT, "mode: enforce, repeat: queued"),
        (configured(None, "w1"), WRONG, "not under 'modules'"),
        # Synapse starts with it, and it does something else than it seems to.
        (configured(NOTHING), NOTE, "all rules are off"),
        (configured({"session_hold": "24h"}), NOTE, "nothing without 'repeat: sess"),
        (configured({**NOTHING, "session_hold": "24h"}), NOTE, "are off, .*; 'sess"),
        (configured(VANISH), RIGHT, ""),
        (configured(VANISH, redis=True), NOTE, "works as 'true' with workers"),
        # It is there where it is served; 503 is of one who cannot ask who asks.
        (findings.page_answers(URL, 200, Config()), RIGHT, "answers at http"),
        (findings.page_answers(URL, 404, Config()), WRONG, "did not load the module"),
        (findings.page_answers(URL, 404, Config(pages=False)), UNKNOWN, "without"),
        (findings.page_answers(URL, 503, Config(pages=False)), WRONG, "answers 503"),
        # A restart may have been forgotten; or the listener is something else's.
        (findings.loaded(page(), Config()), RIGHT, "mode: enforce"),
        (findings.loaded(Page(()), Config()), WRONG, "did not load the module"),
        (findings.loaded(page(version="0"), None), WRONG, f"version 0, not {VERSION}"),
        (findings.loaded(page(mode="observe"), Config()), WRONG, "observe, not enforc"),
        (findings.loaded(page(), Config(repeat="session")), WRONG, "not session"),
        # What failed may be of long ago, and lost nothing.
        *zip(findings.acting(page(), "w"), [RIGHT, RIGHT], ["0 collapsed", "0"]),
        *zip(
            findings.acting(page(failures=2, mode="observe"), "w"),
            [NOTE, NOTE],
            ["0 would have collapsed", r"2 .*\(tidy: 2\); no message was lost"],
        ),
        (findings.acting(page(active=0), "w")[0], WRONG, "stores every message as"),
    ],
)
def test_each_finding_has_its_state_and_its_words(
    finding: Finding, state: str, says: str
) -> None:
    """What is not right comes with what to do."""
    assert state == finding.state
    assert re.search(says, finding.found)
    assert bool(finding.do) == (state in {WRONG, NOTE})
