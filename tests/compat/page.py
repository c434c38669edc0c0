"""The table of releases in docs/compatibility.md, and what `check` knows of them."""

from __future__ import annotations

import datetime as dt
import re
import textwrap

from packaging.version import Version

from tests.compat.environments import ROOT

PAGE = ROOT / "docs" / "compatibility.md"
TESTED = ROOT / "synapse_withheld" / "cli" / "tested.py"
RELEASES = "<!-- releases: written by `python -m tests.compat --short --page` -->\n"


def today() -> dt.date:
    return dt.datetime.now(tz=dt.timezone.utc).date()


def write(release: str, *, has_passed: bool) -> None:
    """Note whether a release passed in the line of its minor version."""
    before, begin, after = PAGE.read_text().partition(RELEASES)
    table, end, rest = after.partition("\n\n")
    head, rule, *rows = table.splitlines()
    lines = {row.split()[1]: row for row in rows}
    minor = release.rpartition(".")[0]
    others = {*lines.get(minor, "|||").split("|")[2].split()} - {release}
    found = sorted(others | ({release} if has_passed else set()), key=Version)
    lines[minor] = f"| {minor} | {' '.join(found)} | {today()} |"
    rows = [lines[each] for each in sorted(lines, key=Version, reverse=True)]
    page = before + begin + "\n".join([head, rule, *rows]) + (end or "\n") + rest
    PAGE.write_text(page)
    before, begin, _ = TESTED.read_text().partition('"""\\\n')
    told = textwrap.fill(" ".join(passed(page)), 86)
    TESTED.write_text(f'{before}{begin}{told}\n"""\n')


def passed(page: str) -> list[str]:
    table = page.partition(RELEASES)[2].partition("\n\n")[0]
    rows = re.findall(r"^\| \d[^|]*\|([^|]*)\|", table, re.M)
    return sorted((each for row in rows for each in row.split()), key=Version)
