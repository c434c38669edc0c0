"""A Synapse module that keeps mailboxes free of duplicate withheld notices."""

from synapse_withheld.module import WithheldModule
from synapse_withheld.version import VERSION

__all__ = ["WithheldModule"]
__version__ = VERSION
