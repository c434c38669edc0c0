"""The list of breaks fits the code, the tests and the documentation."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.breaks import ALL
from tests.breaks.__main__ import STALE, verdict_on
from tests.breaks.model import PACKAGE, ROOT, TABLE, Break, StaleBreakError
from tests.breaks.table import table, table_in, with_table

NEEDS = Break("a clause", "rule.py", "old", "new", "unit/test_rule.py::test_rule")


def functions_of(file: Path) -> set[str]:
    """Return the names of a file's test functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return {each.name for each in body if isinstance(each, functions)}


def test_every_break_fits_the_source() -> None:
    """What it replaces is there exactly once, and what results is Python."""
    for each in ALL:
        source = (ROOT / PACKAGE / each.file).read_text(encoding="utf-8")
        ast.parse(each.applied(source))


def test_every_break_names_a_test_that_exists() -> None:
    """By its node ID below `tests`."""
    missing = []
    for each in ALL:
        file, _, name = each.node.partition("::")
        if name.partition("[")[0] not in functions_of(ROOT / file):
            missing.append(each.test)

    assert [] == missing


def test_every_clause_is_broken_once() -> None:
    """A clause is a row of the table."""
    clauses = [each.clause for each in ALL]

    assert sorted(set(clauses)) == sorted(clauses)


def test_the_documentation_lists_the_same_breaks() -> None:
    """`python -m tests.breaks --write` puts them there."""
    document = (ROOT / TABLE).read_text(encoding="utf-8")

    assert table(ALL) == table_in(document)


def test_a_new_table_replaces_the_old_one_and_nothing_else() -> None:
    """Writing it twice is writing it once."""
    document = (ROOT / TABLE).read_text(encoding="utf-8")
    other = with_table(document, [NEEDS])

    assert table([NEEDS]) == table_in(other)
    assert document == with_table(other, ALL)


@pytest.mark.parametrize("source", ["", "old and old"])
def test_a_break_whose_source_is_gone_is_stale(source: str, tmp_path: Path) -> None:
    """It is reported without a test, and the file stays as it is."""
    with pytest.raises(StaleBreakError):
        NEEDS.applied(source)
    file = tmp_path / PACKAGE / NEEDS.file
    file.parent.mkdir()
    file.write_text(source)

    assert STALE == verdict_on(NEEDS, tmp_path)
    assert source == file.read_text()
