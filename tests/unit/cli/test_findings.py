"""What `check` makes of what it sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from synapse_withheld.cli.commands.check import in_text, is_acting
from synapse_withheld.cli.shared import findings
from synapse_withheld.cli.shared.findings import NOTE, RIGHT, UNKNOWN, WRONG, Finding
from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.homeserver_yaml import MODULE, Deployment
from synapse_withheld.cli.shared.homeserver.metrics_page import Page, Sample
from synapse_withheld.config import Config
from synapse_withheld.version import VERSION

README = (Path(__file__).parents[3] / "README.md").read_text()
SHARED = {
    "modules": [{"module": MODULE}],
    "enable_metrics": True,
    "listeners": [{"type": "metrics", "port": 9000}],
}


def page(active: float = 1, failures: float = 0, **info: str) -> Page:
    """Return what a process tells."""
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
    """Its first screen names the range."""
    stated = re.search(r"Tested with Synapse (\S+) to (\S+),", README)
    assert stated is not None
    assert stated.groups() == (findings.OLDEST_TESTED, findings.NEWEST_TESTED)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("1.98.0", RIGHT),
        ("1.139.2", RIGHT),
        ("1.139.9", NOTE),
        ("1.163.2", RIGHT),
        ("1.97.0", NOTE),
        ("1.163.3", NOTE),
        ("2.0", NOTE),
        ("unknown", NOTE),
        (None, WRONG),
    ],
)
def test_a_version_that_was_not_tested_is_noted(
    version: str | None, state: str
) -> None:
    """Whether the module acts on it, `active` says."""
    assert states(findings.tested(version)) == [state]


def test_the_module_can_be_imported_here() -> None:
    """As Synapse would import it."""
    assert states(findings.importable()) == [RIGHT]


def test_a_module_that_cannot_be_imported_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For instance in an environment without Synapse."""
    monkeypatch.setattr(findings, "MODULE", "synapse_withheld.NoSuchModule")
    assert states(findings.importable()) == [WRONG]


def test_the_writer_needs_the_module_in_what_it_reads() -> None:
    """A worker's own `modules` replaces the shared one."""
    workers = {"w1": {**SHARED, "modules": []}}
    deployment = Deployment((), SHARED, workers)
    found = [findings.configured(deployment, each) for each in ("master", "w1", "w2")]
    assert states(*(finding for finding, _ in found)) == [RIGHT, WRONG, RIGHT]
    assert [config for _, config in found] == [Config(), None, Config()]


@pytest.mark.parametrize(
    ("config", "notes"),
    [
        ({}, []),
        ({"repeat": "session", "session_hold": "2h"}, []),
        ({"rules": {"no_olm": False, "withheld": True}}, []),
        ({"rules": {"no_olm": False}}, ["all rules are off"]),
        ({"session_hold": "24h"}, ["does nothing without 'repeat: session'"]),
        (
            {"session_hold": "24h", "rules": {"no_olm": False}},
            ["all rules are off", "without 'repeat: session'"],
        ),
    ],
)
def test_what_is_hardly_meant_is_noted(
    config: dict[str, Any], notes: list[str]
) -> None:
    """Synapse starts with it, and it does something else than it seems to."""
    shared = {**SHARED, "modules": [{"module": MODULE, "config": config}]}
    finding, found = findings.configured(Deployment((), shared, {}), "master")
    assert [NOTE if notes else RIGHT] == states(finding)
    assert all(each in finding.found for each in notes)
    assert found is not None


@pytest.mark.parametrize(("redis", "state"), [({"enabled": True}, NOTE), ({}, RIGHT)])
def test_vanish_with_workers_is_noted(redis: dict[str, bool], state: str) -> None:
    """No process knows there what devices were handed."""
    config = {"rules": {"key_requests": "vanish"}}
    modules = [{"module": MODULE, "config": config}]
    shared = {**SHARED, "modules": modules, "redis": redis}
    finding, _ = findings.configured(Deployment((), shared, {}), "master")
    assert [state] == states(finding)
    assert ("works as 'true'" in finding.found) is (state == NOTE)


def test_a_mode_beside_the_config_is_wrong() -> None:
    """Synapse ignores it, and the module enforces."""
    shared = {**SHARED, "modules": [{"module": MODULE, "mode": "observe"}]}
    finding, config = findings.configured(Deployment((), shared, {}), "master")
    assert ([WRONG], None) == (states(finding), config)
    assert "'mode'" in finding.found


def test_a_missing_file_of_the_writer_is_asked_for() -> None:
    """By the name that the shared file gives it."""
    deployment = Deployment((), SHARED, {"w1": {}})
    found = findings.listening(deployment, "w2")
    assert [WRONG] == states(*found.finding)
    assert ((), (), ()) == (found.metrics, found.pages, found.statuses)
    assert "'worker_name: w2'" in found.finding[0].do


def test_a_process_that_tells_no_metrics_is_noted() -> None:
    """Nothing is wrong with that; its page is asked instead, wherever it may be."""
    client = {"type": "http", "port": 8008, "bind_addresses": ["::1", "127.0.0.1"]}
    found = findings.listening(Deployment((), {"listeners": [client]}, {}), "master")
    assert [NOTE] == states(*found.finding)
    assert "--token-file" in found.finding[0].do
    page = "/_synapse/client/withheld/"
    asked = [f"http://{host}:8008{page}" for host in ("[::1]", "127.0.0.1")]
    assert asked == [*map(str, found.pages)]
    assert f"{asked[0]}v1/status" == str(found.statuses[0])


def test_listeners_that_stop_synapse_are_wrong() -> None:
    """With what it will say."""
    entry = {"type": "metrics", "port": 9000, "bind_addresses": None}
    found = findings.listening(Deployment((), {"listeners": [entry]}, {}), "master")
    assert [WRONG] == states(*found.finding)
    assert "'NoneType' object has no attribute 'append'" in found.finding[0].do


@pytest.mark.parametrize(
    ("status", "config", "state"),
    [
        (200, Config(), RIGHT),
        (200, None, RIGHT),
        (404, Config(), WRONG),
        (404, None, WRONG),
        (404, Config(pages=False), UNKNOWN),
    ],
)
def test_the_page_tells_that_the_module_is_loaded(
    status: int, config: Config | None, state: str
) -> None:
    """Where it is to serve one."""
    address = Address.of("http://[::1]/")
    assert [state] == states(findings.page_answers(address, status, config))


@pytest.mark.parametrize(
    ("running", "config", "state"),
    [
        (page(), Config(), RIGHT),
        (page(), None, RIGHT),
        (Page(()), Config(), WRONG),
        (page(version="0.0.1"), Config(), WRONG),
        (page(mode="observe"), Config(), WRONG),
        (page(), Config(repeat="session"), WRONG),
    ],
)
def test_what_runs_is_compared_with_what_is_configured(
    running: Page, config: Config | None, state: str
) -> None:
    """A restart may have been forgotten."""
    assert states(findings.loaded(running, config)) == [state]


def test_a_process_without_the_module_is_told_from_one_with_another() -> None:
    """As before the restart, or where the listener is that of something else."""
    found = findings.loaded(Page(()), Config()).found
    assert found == "the process that answers did not load the module"


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        (page(), [RIGHT, RIGHT]),
        (page(active=0), [WRONG, RIGHT]),
        (page(mode="observe"), [NOTE, RIGHT]),
        (page(failures=2), [RIGHT, NOTE]),
        (page(active=0, failures=2), [WRONG, NOTE]),
    ],
)
def test_a_process_acts_if_it_says_so(running: Page, expected: list[str]) -> None:
    """What failed meanwhile is noted: it may be of long ago, and lost nothing."""
    assert states(*findings.acting(running, "master")) == expected


def test_in_observe_mode_nothing_is_said_to_have_collapsed() -> None:
    """It would have."""
    for mode, said in (
        ("observe", "0 would have collapsed"),
        ("enforce", "0 collapsed"),
    ):
        active, _ = findings.acting(page(mode=mode), "master")
        assert said in active.found


def test_failures_are_told_by_stage() -> None:
    """Those of which there are any."""
    _, failures = findings.acting(page(failures=2), "master")
    assert "(tidy: 2)" in failures.found


def test_what_could_not_be_found_out_is_unknown() -> None:
    """Each question has an answer, in their order."""
    known = Finding("config", WRONG, "found", "do")
    found = findings.complete([known])
    assert [each.question for each in found] == list(findings.QUESTIONS)
    assert [each.state for each in found if each is not known] == [UNKNOWN] * 7
    assert found[findings.QUESTIONS.index("config")] is known


def test_what_nobody_could_be_asked_is_unknown() -> None:
    """Nothing is wrong for that."""
    found = findings.complete([Finding("metrics", NOTE, "found", "do")])
    unknown = {each.found for each in found if each.state == UNKNOWN}
    assert {"not told without metrics or an admin's access token"} == unknown
    assert is_acting(found) is None
    assert is_acting([*found, Finding("loaded", WRONG, "found", "do")]) is False
    assert is_acting([Finding("loaded", NOTE, "found", "do")]) is True


def test_a_line_ends_with_what_to_do() -> None:
    """Only where there is something to do."""
    finding: Any = Finding("active", WRONG, "0", "look there")
    assert in_text(finding) == "WRONG  active    0; to do: look there"
    assert in_text(attrs.evolve(finding, state=RIGHT, do="")) == "ok     active    0"
