"""A file through which a test speaks to a module in Synapse's process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonFile:
    """A JSON object that may be there, and can change at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **content: Any) -> None:
        """Write it in one step, so that Synapse never reads half of it."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(content))
        temporary.replace(self.path)

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """Return what it says: nothing if it is not there."""
        try:
            content: dict[str, Any] = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        return content
