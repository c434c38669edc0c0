"""What pages and records name is there: sections, files, tests, what Synapse has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

import pytest

from synapse_withheld.cli.tested import RELEASES as TESTED
from tests.compat.environments import ROOT
from tests.compat.releases import PAGE, expected, installed, passed

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))

on_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def text_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def sections_of(page: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.*)$", text_of(page), re.M):
        yield re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-")


@on_every_page
def test_a_link_leads_to_a_page_and_a_section_of_it(page: Path) -> None:
    """Those to other sites are not followed."""
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if not link.startswith("https://"):
            path, _, section = link.partition("#")
            target = (page.parent / path) if path else page
            assert target.exists(), link
            assert not section or section in sections_of(target), link


@on_every_page
def test_a_test_or_a_file_that_is_named_exists(page: Path) -> None:
    """The threat model is worth what shows it."""
    text = text_of(page)
    for name in re.findall(r"`(test_\w+)`", text):
        assert f"def {name}(" in TESTS, name
    named = r"`((?:tests|docs|synapse_withheld|memory|rules|\.ci)/[\w./-]*)`"
    for path in re.findall(named, text):
        assert (ROOT / path).exists() or (ROOT / "synapse_withheld" / path).exists()


def test_the_readme_is_one_screen_to_decide_and_one_to_install() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= 120


def test_the_wrapped_methods_are_of_a_known_shape() -> None:
    """A new Synapse that changes one has to be looked at, and recorded."""
    assert expected() == installed()


def test_check_calls_tested_what_passed() -> None:
    assert passed(PAGE.read_text()) == TESTED.split()
