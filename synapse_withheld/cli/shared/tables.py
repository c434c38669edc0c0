"""Show what anybody may have chosen."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor."""
    return "".join(
        each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text
    )
