"""What the module relies on in Synapse's source, as facts that can be compared.

No text of Synapse's is kept: of each method its parameters, and a hash of the rest,
without comments, annotations and its docstring.
"""

from __future__ import annotations

import ast
import hashlib
import zipfile
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

import attrs

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


def names() -> list[str]:
    """Return what the methods are called here: several files may have one of a name."""
    return [_called(file, each) for file, some in METHODS.items() for each in some]


def _called(file: str, method: str) -> str:
    return f"{file.removeprefix(_AUTH)}: {method}" if _AUTH in file else method


@attrs.frozen
class Facts:
    """One method: the names of its parameters, in order, and a hash of its body."""

    parameters: List[str]
    text: str

    def difference(self, other: Facts) -> str:
        if self.parameters != other.parameters:
            return f"it takes {other.parameters}, not {self.parameters}"
        return "it does something else"


def of_directory(packages: Path) -> dict[str, Facts]:
    def read(name: str) -> str | None:
        path = packages / name
        return path.read_text(encoding="utf-8") if path.exists() else None

    return dict(_facts(read))


def of_wheel(wheel: Path) -> dict[str, Facts]:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

        def read(name: str) -> str | None:
            return archive.read(name).decode() if name in names else None

        return dict(_facts(read))


def of_method(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Facts:
    parameters = [each.arg for each in method.args.args + method.args.kwonlyargs]
    body = ast.Module(_without_docstring(method.body), [])
    cleaned = _WithoutAnnotations().visit(body)
    text = hashlib.sha256(" ".join(_words(cleaned)).encode()).hexdigest()[:16]
    return Facts(parameters[1:], text)


def _facts(read: Callable[[str], Optional[str]]) -> Iterator[tuple[str, Facts]]:
    for file, names in METHODS.items():
        for node in ast.walk(ast.parse(read(file) or "")):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if node.name in names and not _is_abstract(node):
                yield _called(file, node.name), of_method(node)


def _is_abstract(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("abstractmethod" in ast.dump(each) for each in method.decorator_list)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        return body[1:]
    return body


class _WithoutAnnotations(ast.NodeTransformer):
    """Forgets types, which change without consequence."""

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return None
        return self.generic_visit(ast.Assign([node.target], node.value))


def _words(tree: ast.AST) -> Iterator[str]:
    """Give what tells two trees apart, in a form that no version of Python changes."""
    for node in ast.walk(tree):
        yield type(node).__name__
        for field in ("id", "attr", "arg", "name"):
            if isinstance(value := getattr(node, field, None), str):
                yield value
        if isinstance(node, ast.Constant):
            value = node.value
            yield repr(" ".join(value.split()) if isinstance(value, str) else value)
