"""What the SQL statements of the inbox and of the outbox share.

Each statement runs alone, outside Synapse's own transactions and in none of its
own: on PostgreSQL at READ COMMITTED, where a row deleted by someone else meanwhile
is no error. All work on SQLite and PostgreSQL alike.
"""

from __future__ import annotations

import json
from typing import Any, Iterable, Iterator, Protocol, Sequence

import attrs

# How many mailboxes or rows one statement names at most, so that it stays below
# the 999 parameters that an old SQLite takes.
MOST_KEYS = 200
MOST_DELETED = 150
# How many rows one statement deletes at most where parameters are not scarce.
MOST_DELETED_ON_POSTGRES = 1000

# What Synapse names the driver of SQLite.
SQLITE = "sqlite3"

# How far back a first reading looks: rows of one mailbox or outbox, and of all of
# one statement together.
MOST_ROWS = 1000
LEAST_ROWS = 50
ROWS_OF_STATEMENT = 10_000

# How much of a row is read, in characters. A notice has about 400; of a longer
# row not enough is read to parse it, so it is not recognised.
MOST_OF_ROW = 2048


class Transaction(Protocol):
    """What the statements use of Synapse's `LoggingTransaction`."""

    rowcount: int

    def execute(self, sql: str, parameters: Sequence[Any]) -> None:
        """Run a statement."""

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""


@attrs.frozen
class MailboxReading:
    """What a first reading found for one mailbox.

    Attributes:
        messages: Stream ID and decoded message of the rows that may be notices,
            newest first; rows doomed by a device deletion are left out.
    """

    messages: list[tuple[int, dict[str, Any]]] = attrs.Factory(list)


def depth_of_reading(count: int) -> int:
    """Return how many rows of each are looked at when `count` are read at once."""
    return max(LEAST_ROWS, min(MOST_ROWS, ROWS_OF_STATEMENT // count))


def decode(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a row holds, if it is one and whole."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def contains_any(column: str, texts: Sequence[str]) -> tuple[str, list[Any]]:
    """Return the condition that a row may be a notice, and its parameters.

    Args:
        column: Where the text of rows is.
        texts: What the text of every row with a notice contains one of.
    """
    each = f"SUBSTR({column}, 1, {MOST_OF_ROW}) LIKE ?"
    return f"({' OR '.join([each] * len(texts))})", [f"%{text}%" for text in texts]


def most_deleted(driver: str) -> int:
    """Return how many rows one statement deletes at most.

    Args:
        driver: As Synapse names it: `sqlite3` or `psycopg2`.
    """
    return MOST_DELETED if driver == SQLITE else MOST_DELETED_ON_POSTGRES


def batches(items: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Return items in lists of as many as one statement may name."""
    rest = list(items)
    for start in range(0, len(rest), most):
        yield rest[start : start + most]


def marks(count: int) -> str:
    """Return question marks for as many parameters."""
    return ", ".join("?" * count)


def tuples(count: int, width: int) -> str:
    """Return question marks for as many tuples of parameters."""
    return ", ".join([f"({marks(width)})"] * count)
