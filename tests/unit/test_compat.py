"""What is recorded of Synapse's versions, and how a difference is told."""

from __future__ import annotations

import ast
import datetime as dt
from importlib.util import find_spec
from pathlib import Path

import attrs

from synapse_withheld.cli.shared.findings import NEWEST_TESTED
from synapse_withheld.cli.shared.tested import RELEASES as TESTED
from synapse_withheld.synapse_internals import synapse_version
from tests.compat.environments import ROOT, SHORT, Run
from tests.compat.facts import Facts, of_directory, of_method
from tests.compat.page import (
    FAST,
    PAGE,
    RUNS,
    passed,
    with_line,
    with_release,
    with_run,
)
from tests.compat.shapes import (
    differences,
    expected,
    is_final,
    key,
    recorded,
    versions_with_a_new_shape,
)

HEADER = "| Synapse | Python | outcome |\n| --- | --- | --- |\n"

METHOD = '''
async def store(self, messages: dict, token: int = 0) -> int:
    """Say nothing."""
    found: int = self.db.run("SELECT 1", messages)  # a comment
    return found
'''


def installed() -> Path:
    """Return the directory that Synapse is installed in."""
    spec = find_spec("synapse")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parents[1]


def facts_of(source: str) -> Facts:
    """Return the facts about a method."""
    (method,) = ast.parse(source).body
    assert isinstance(method, ast.AsyncFunctionDef)
    return of_method(method)


def test_the_wrapped_methods_are_of_a_known_shape() -> None:
    """A new Synapse that changes one has to be looked at, and recorded."""
    found = of_directory(installed())
    assert [] == differences(expected(recorded(), synapse_version()), found)


def test_every_version_that_is_recorded_is_between_the_oldest_and_the_newest() -> None:
    """And there are shapes of both kinds of store."""
    versions = versions_with_a_new_shape(recorded())
    assert "1.98.0" == versions[0]
    assert len(versions) > 3
    assert all(map(is_final, versions))
    assert key(versions[-1]) <= key(NEWEST_TESTED)


def test_types_comments_and_docstrings_are_no_difference() -> None:
    """They change often, and without consequence."""
    other = METHOD.replace("Say nothing.", "Be.").replace("  # a comment", "")
    other = (
        other.replace(": int =", " =").replace("dict", "Mapping").replace("-> int", "")
    )
    assert facts_of(METHOD) == facts_of(other)


def test_a_difference_is_told() -> None:
    """By what it is, as far as that can be said."""
    shapes = {"store": facts_of(METHOD), "gone": facts_of(METHOD), "new": None}
    changed = METHOD.replace("token", "position").replace("db.run", "pool.run")
    found = {"store": facts_of(changed), "new": facts_of(METHOD)}
    told = differences(shapes, found)
    assert "it takes ['messages', 'position'], not ['messages', 'token']" in told[0]
    assert "it newly uses ['pool']; it no longer uses ['db']" in told[0]
    assert [
        "gone: it is not there any more",
        "new: it is there, and was not",
    ] == told[1:]
    other = facts_of(METHOD.replace("SELECT 1", "SELECT 2"))
    assert ["store: it does something else with the same names"] == differences(
        {"store": shapes["store"]}, {"store": other}
    )


def test_versions_sort_by_number_and_candidates_before_releases() -> None:
    """As they were released."""
    versions = ("1.9.0", "1.98.0", "1.155.0rc1", "1.155.0", "1.155.1", "1.164.0rc3")
    keys = [key(each) for each in versions]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys))


def test_a_run_takes_the_place_of_an_earlier_one() -> None:
    """One line for each version and Python, newest first."""
    newer, old, new = (
        f"| {version} | 3.11 | {outcome} |\n"
        for version, outcome in (
            ("1.155.0", "passed"),
            ("1.98.0", "failed"),
            ("1.98.0", "passed"),
        )
    )
    run = Run("1.98.0", "3.11", "passed")
    assert HEADER + newer + new == with_line(HEADER + old + newer, run, new.strip())


def test_a_run_changes_no_other_table() -> None:
    """There are two on the page, with text between them."""
    row = "| 1.98.0 | 3.9 | passed |"
    page = f"{FAST}{HEADER}\nMore.\n\n{RUNS}{HEADER}"
    run = Run("1.98.0", "3.9", "passed")
    first = f"{FAST}{HEADER}{row}\n\nMore.\n\n{RUNS}{HEADER}"
    assert first == with_run(page, FAST, run, row)
    assert f"{page}{row}\n" == with_run(page, RUNS, run, row)


def test_releases_share_the_line_of_their_minor_version() -> None:
    """A later run of one of them takes the place of the earlier."""
    row = "| 1.98 | 3.11 | 1.98.0rc1 | 1.98.0 | 2026-01-01 |\n"
    minor, day = Run("1.98", "3.11", ""), dt.date(2026, 1, 2)
    assert "| 1.98 | 3.11 | 1.98.0rc1 1.98.0 |  | 2026-01-02 |" == with_release(
        row, Run("1.98.0", "3.11", "passed"), minor, day
    )
    assert "| 1.98 | 3.12 |  | 1.98.0 | 2026-01-02 |" == with_release(
        row, Run("1.98.0", "3.12", "failed"), attrs.evolve(minor, python="3.12"), day
    )


def test_check_calls_tested_what_passed() -> None:
    """The command writes both."""
    assert passed(PAGE.read_text()) == TESTED.split()


def test_the_tests_for_every_release_are_there() -> None:
    """They are named one by one."""
    for each in SHORT:
        file, _, name = each.partition("[")[0].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()
