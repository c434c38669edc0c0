"""Exit codes, the same for every command."""

from __future__ import annotations

OK, WRONG, CANNOT_SAY = 0, 1, 2
