"""What a break is, and where the files are that it names."""

from __future__ import annotations

from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "synapse_withheld"
TABLE = Path("docs") / "development.md"


class StaleBreakError(Exception):
    """The source that a break replaces is not there exactly once."""


@attrs.frozen
class Break:
    """A deliberate fault, and the test that has to turn red.

    Attributes:
        clause: What no longer holds, in the words of `docs/design.md`.
        file: The file of `synapse_withheld` that is broken.
        old: Source that occurs in it exactly once.
        new: What is put in its place.
        test: The test that notices: its pytest node ID below `tests`.
    """

    clause: str
    file: str
    old: str
    new: str
    test: str

    @property
    def node(self) -> str:
        """Return the test's node ID from the root of the project."""
        return f"tests/{self.test}"

    def applied(self, source: str) -> str:
        """Return the broken source of the file.

        Raises:
            StaleBreakError: `old` is not there exactly once.
        """
        if source.count(self.old) != 1:
            raise StaleBreakError(
                f"{self.file}: found {source.count(self.old)} times: {self.old!r}"
            )
        return source.replace(self.old, self.new)
