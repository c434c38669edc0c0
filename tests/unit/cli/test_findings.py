"""What `check` makes of what it sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from synapse_withheld.cli.commands.check import in_text
from synapse_withheld.cli.shared import findings
from synapse_withheld.cli.shared.findings import NOTE, RIGHT, UNKNOWN, WRONG, Finding
from synapse_withheld.cli.shared.homeserver_yaml import MODULE, Deployment
from synapse_withheld.cli.shared.metrics_page import Page, Sample
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
    """There are two places to keep up to date."""
    stated = re.search(r"Tested with Synapse (\S+) to (\S+),", README)
    assert stated is not None
    assert stated.groups() == (findings.OLDEST_TESTED, findings.NEWEST_TESTED)


@pytest.mark.parametrize(
    ("version", "state"),
    [
        (findings.OLDEST_TESTED, RIGHT),
        (f"{findings.OLDEST_TESTED}.0", RIGHT),
        ("1.135.0rc1", RIGHT),
        (findings.NEWEST_TESTED, RIGHT),
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


def test_a_missing_file_of_the_writer_is_asked_for() -> None:
    """By the name that the shared file gives it."""
    deployment = Deployment((), SHARED, {"w1": {}})
    finding, url = findings.listening(deployment, "w2")
    assert states(finding) == [WRONG]
    assert url is None
    assert "'worker_name: w2'" in finding.do


def test_a_process_that_tells_no_metrics_is_wrong() -> None:
    """Whether it acts cannot be seen then."""
    deployment = Deployment((), {}, {})
    finding, url = findings.listening(deployment, "master")
    assert (states(finding), url) == ([WRONG], None)


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
        (page(failures=2), [RIGHT, WRONG]),
    ],
)
def test_a_process_acts_if_it_says_so(running: Page, expected: list[str]) -> None:
    """And nothing may have failed."""
    assert states(*findings.acting(running, "master")) == expected


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


def test_a_line_ends_with_what_to_do() -> None:
    """Only where there is something to do."""
    finding: Any = Finding("active", WRONG, "0", "look there")
    assert in_text(finding) == "WRONG  active    0; to do: look there"
    assert in_text(attrs.evolve(finding, state=RIGHT, do="")) == "ok     active    0"
