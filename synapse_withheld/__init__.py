"""A Synapse module that keeps mailboxes free of duplicate withheld notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synapse_withheld.version import VERSION

if TYPE_CHECKING:
    from synapse_withheld.module import WithheldModule

__all__ = ["WithheldModule"]
__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Import the module when Synapse asks for it.

    Not before: the command line has to say so where it was installed into an
    environment without Synapse.

    Raises:
        AttributeError: There is no such name.
    """
    if name == "WithheldModule":
        from synapse_withheld.module import WithheldModule  # noqa: PLC0415 see above

        return WithheldModule
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
