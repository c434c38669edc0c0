"""The shapes that the wrapped methods had, by the version that brought each.

No text of Synapse's is kept: of each method a hash, without comments, annotations and
its docstring, and its parameters.
"""

from __future__ import annotations

import ast
import hashlib
import json
import zipfile
from collections import deque
from pathlib import Path
from typing import Dict, Iterator, Mapping

from packaging.version import Version

_STORE = "synapse/storage/databases/main/"
_AUTH = "synapse/api/auth/"

# The file and the methods, of which a version may have some only.
METHODS = {
    _STORE + "deviceinbox.py": (
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
    _STORE + "devices.py": ("get_device_stream_token",),
    _STORE + "appservice.py": ("get_app_services",),
    "synapse/appservice/__init__.py": ("is_interested_in_user",),
    "synapse/storage/database.py": ("runInteraction",),
    "synapse/util/caches/stream_change_cache.py": ("entity_has_changed",),
    # Each for a way to say who somebody is.
    _AUTH + "internal.py": ("is_server_admin",),
    _AUTH + "msc3861_delegated.py": ("is_server_admin",),
    _AUTH + "mas.py": ("is_server_admin",),
}

FILE = Path(__file__).with_name("shapes.json")

# A method's shape by the version since which it has it; `None` where it is not there.
Shapes = Dict[str, Dict[str, "str | None"]]


def recorded() -> Shapes:
    told: Shapes = json.loads(FILE.read_text())
    return told


def record(found: Mapping[str, Mapping[str, str]]) -> None:
    """Write down the shapes of all versions: each as far as it is new."""
    shapes: Shapes = {
        _called(file, each): {} for file, names in METHODS.items() for each in names
    }
    for version in sorted(found, key=Version):
        for name, by_version in shapes.items():
            shape = found[version].get(name)
            if not by_version or [*by_version.values()][-1] != shape:
                by_version[version] = shape
    FILE.write_text(json.dumps(shapes, indent=1) + "\n")


def expected(version: str) -> dict[str, str]:
    """Return what a version should have: as the newest that is not newer."""
    found = {}
    for name, by_version in recorded().items():
        known = [each for each in by_version if Version(each) <= Version(version)]
        if known and (shape := by_version[known[-1]]) is not None:
            found[name] = shape
    return found


def shapes_in(packages: Path | zipfile.Path) -> dict[str, str]:
    """Return the shapes of the methods of the Synapse in a directory or a wheel."""
    found = {}
    for name, methods in METHODS.items():
        file = packages / name
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            is_abstract = "abstract" in "".join(map(ast.dump, node.decorator_list))
            if node.name in methods and not is_abstract:
                digest = hashlib.sha256(" ".join(_words(node)).encode()).hexdigest()
                _, *names = [*node.args.args, *node.args.kwonlyargs]
                parameters = ", ".join(each.arg for each in names)
                shape = f"{digest[:16]} {parameters}".strip()
                found[_called(name, node.name)] = shape
    return found


def _called(file: str, method: str) -> str:
    """Return what a method is called here: several files may have one of a name."""
    return f"{file.removeprefix(_AUTH)}: {method}" if _AUTH in file else method


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
