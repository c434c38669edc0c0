"""What `check` makes of what it sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.shared import findings
from synapse_withheld.cli.shared.findings import NOTE, RIGHT, UNKNOWN, WRONG, Finding
from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.homeserver_yaml import MODULE, Deployment
from synapse_withheld.cli.shared.homeserver.metrics_page import Page, Sample
from synapse_withheld.config import Config
from synapse_withheld.version import VERSION

README = (Path(__file__).parents[3] / "README.md").read_text()
SHARED = {"modules": [{"module": MODULE}]}


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


def states(*found: Finding) -> list[str]:
    """Return the state of each; what is not right must come with what to do."""
    assert all(bool(each.do) == (each.state in {WRONG, NOTE}) for each in found)
    return [each.state for each in found]


def test_the_tested_versions_are_those_of_the_readme() -> None:
    stated = re.search(r"Tested with Synapse (\S+) to (\S+),", README)
    assert stated is not None
    assert stated.groups() == (findings.OLDEST_TESTED, findings.NEWEST_TESTED)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("1.139.2", RIGHT),
        ("1.139.9", NOTE),
        ("1.97.0", NOTE),
        ("1.163.3", NOTE),
        ("unknown", NOTE),
        (None, WRONG),
    ],
)
def test_a_version_that_was_not_tested_is_noted(
    version: str | None, state: str
) -> None:
    """Whether the module acts on it, `active` says."""
    assert states(findings.tested(version)) == [state]


def test_the_writer_needs_the_module_in_what_it_reads() -> None:
    """A worker's own `modules` replaces the shared one."""
    deployment = Deployment(SHARED, {"w1": {"modules": []}})
    found = [findings.configured(deployment, each) for each in ("master", "w1", "w2")]
    assert states(*(finding for finding, _ in found)) == [RIGHT, WRONG, RIGHT]
    assert [config for _, config in found] == [Config(), None, Config()]


@pytest.mark.parametrize(
    ("config", "redis", "notes"),
    [
        (
            {"session_hold": "24h", "rules": {"no_olm": False}},
            False,
            ["all rules are off", "does nothing without 'repeat: session'"],
        ),
        ({"rules": {"key_requests": "vanish"}}, True, ["works as 'true'"]),
        ({"rules": {"key_requests": "vanish"}}, False, []),
    ],
)
def test_what_is_hardly_meant_is_noted(
    config: dict[str, Any], redis: bool, notes: list[str]
) -> None:
    """Synapse starts with it, and it does something else than it seems to."""
    modules = [{"module": MODULE, "config": config}]
    shared = {"modules": modules, "redis": {"enabled": redis}}
    finding, found = findings.configured(Deployment(shared, {}), "master")
    assert [NOTE if notes else RIGHT] == states(finding)
    assert all(each in finding.found for each in notes)
    assert len(notes) == finding.found.count(";")
    assert found is not None


def test_the_page_tells_that_the_module_is_loaded() -> None:
    """Where it is to serve one; 503 is of a Synapse that cannot be asked who asks."""
    address = Address.of("http://[::1]/")
    for status, pages, state in (
        (200, True, RIGHT),
        (404, True, WRONG),
        (404, False, UNKNOWN),
        (503, False, WRONG),
    ):
        found = findings.page_answers(address, status, Config(pages=pages))
        assert [state] == states(found)


@pytest.mark.parametrize(
    ("running", "config", "state"),
    [
        (page(), Config(), RIGHT),
        (Page(()), Config(), WRONG),
        (page(mode="observe"), Config(), WRONG),
        (page(), Config(repeat="session"), WRONG),
    ],
)
def test_what_runs_is_compared_with_what_is_configured(
    running: Page, config: Config | None, state: str
) -> None:
    """A restart may have been forgotten; or the listener is that of something else."""
    found = findings.loaded(running, config)
    assert states(found) == [state]
    assert ("did not load the module" in found.found) is (running == Page(()))


@pytest.mark.parametrize(
    ("running", "expected", "says"),
    [
        (page(), [RIGHT, RIGHT], "0 collapsed"),
        (page(mode="observe"), [NOTE, RIGHT], "0 would have collapsed"),
        (page(failures=2), [RIGHT, NOTE], "(tidy: 2); no message was lost"),
        (page(active=0, failures=2), [WRONG, NOTE], "stores every message as usual"),
    ],
)
def test_a_process_acts_if_it_says_so(
    running: Page, expected: list[str], says: str
) -> None:
    """What failed meanwhile is noted: it may be of long ago, and lost nothing."""
    found = findings.acting(running, "master")
    assert states(*found) == expected
    assert says in "".join(each.found for each in found)
