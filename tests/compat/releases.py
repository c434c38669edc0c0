"""What is written down of releases: the shapes of wrapped methods, and which passed.

No text of Synapse's is kept: of each method a hash, without comments, annotations and
its docstring, and its parameters. What passed is in a table in docs/compatibility.md,
and where `check` looks.
"""

from __future__ import annotations

import ast
import datetime as dt
import hashlib
import json
import re
import textwrap
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Iterator

from packaging.version import Version

from synapse_withheld.synapse_internals import synapse_version
from tests.compat.environments import ROOT

# The file and the methods, of which a version may have some only.
METHODS = {
    "storage/databases/main/deviceinbox.py": (
        "add_messages_to_device_inbox",
        "add_local_messages_from_client_to_device_inbox",
        "add_remote_messages_from_client_to_device_inbox",
        "add_messages_from_remote_to_device_inbox",
        "_add_messages_to_local_device_inbox_txn",
        "get_messages_for_device",
        "get_messages_for_user_devices",
        "get_to_device_stream_token",
        "delete_messages_for_device_between",
    ),
    "storage/databases/main/devices.py": ("get_device_stream_token",),
    "storage/databases/main/appservice.py": ("get_app_services",),
    "appservice/__init__.py": ("is_interested_in_user",),
    "storage/database.py": ("runInteraction",),
    "util/caches/stream_change_cache.py": ("entity_has_changed",),
    # Each for a way to say who somebody is.
    "api/auth/internal.py": ("is_server_admin",),
    "api/auth/msc3861_delegated.py": ("is_server_admin",),
    "api/auth/mas.py": ("is_server_admin",),
}

PAGE = ROOT / "docs" / "compatibility.md"
TESTED = ROOT / "synapse_withheld" / "cli" / "tested.py"
RELEASES = "<!-- releases: written by `python -m tests.compat --short --page` -->\n"
FILE = Path(__file__).with_name("shapes.json")

# A method's shape by the version since which it has it; `None` where it is not there.
Shapes = Dict[str, Dict[str, "str | None"]]


def recorded() -> Shapes:
    told: Shapes = json.loads(FILE.read_text())
    return told


def record() -> None:
    """Write down what is new in the version that is installed."""
    shapes, known, found = recorded(), expected(), installed()
    for name, by_version in shapes.items():
        if found.get(name) != known.get(name):
            by_version[synapse_version()] = found.get(name)
    FILE.write_text(json.dumps(shapes, indent=1) + "\n")


def expected() -> dict[str, str]:
    """Return what the version should have: as the newest that is not newer."""
    version, found = Version(synapse_version()), {}
    for name, by_version in recorded().items():
        known = [each for each in by_version if Version(each) <= version]
        if known and (shape := by_version[known[-1]]) is not None:
            found[name] = shape
    return found


def installed() -> dict[str, str]:
    """Return the shapes of the methods that the installed version has."""
    spec = find_spec("synapse")
    assert spec is not None
    assert spec.origin is not None
    found = {}
    for name, methods in METHODS.items():
        file = Path(spec.origin).parent / name
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if node.name in methods:
                digest = hashlib.sha256(" ".join(_words(node)).encode()).hexdigest()
                _, *names = [*node.args.args, *node.args.kwonlyargs]
                parameters = ", ".join(each.arg for each in names)
                found[f"{name}: {node.name}"] = f"{digest[:16]} {parameters}".strip()
    return found


def _words(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Give what tells two bodies apart, in a form that no version of Python changes."""
    has_docstring = ast.get_docstring(method) is not None
    nodes: deque[ast.AST] = deque([ast.Module(method.body[has_docstring:], [])])
    while nodes:
        node = nodes.popleft()
        if isinstance(node, ast.AnnAssign):
            if node.value is None:
                continue
            node = ast.Assign([node.target], node.value)
        # Types change without consequence.
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        yield type(node).__name__
        for field in ("id", "attr", "arg", "name"):
            if isinstance(value := getattr(node, field, None), str):
                yield value
        if isinstance(node, ast.Constant):
            value = node.value
            yield repr(" ".join(value.split()) if isinstance(value, str) else value)
        nodes.extend(ast.iter_child_nodes(node))


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
