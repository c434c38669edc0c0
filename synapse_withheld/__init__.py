"""A Synapse module that keeps mailboxes free of duplicate withheld notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synapse_withheld.version import VERSION

if TYPE_CHECKING:
    from synapse_withheld.module import WithheldModule

__all__ = ["WithheldModule"]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Import the module when Synapse asks for it: the command has to run without."""
    if name == "WithheldModule":
        from synapse_withheld.module import WithheldModule  # noqa: PLC0415 see above

        return WithheldModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
