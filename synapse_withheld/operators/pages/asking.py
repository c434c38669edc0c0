"""How the pages are asked: what they and those who ask have to agree on."""

from __future__ import annotations

import re

PATH = "/_synapse/client/withheld"
TOP = "v1/top"

# How many senders and recipients are told, and at most.
DEFAULT_LIMIT = 10
MOST_LIMIT = 100


def limit_of(text: str) -> int | None:
    """Return how many a text asks for, `None` if it is no such number."""
    # Three digits: `int` takes long for very many.
    if re.fullmatch("[0-9]{1,3}", text) and 1 <= int(text) <= MOST_LIMIT:
        return int(text)
    return None
