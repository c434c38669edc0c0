"""What the SQL statements of the inbox and of the outbox share.

Each statement runs alone, outside Synapse's own transactions and in none of its
own: on PostgreSQL at READ COMMITTED, where a row deleted by someone else meanwhile
is no error. All work on SQLite and PostgreSQL alike.
"""

from __future__ import annotations

import json
from collections import Counter
from operator import itemgetter
from typing import Any, Iterable, Iterator, Optional, Protocol, Sequence, Tuple

import attrs

# How many mailboxes or rows one statement names at most, so that it stays below
# the 999 parameters that an old SQLite takes.
MOST_KEYS = 200
MOST_DELETED = 150
# How many rows one statement deletes at most where parameters are not scarce.
MOST_DELETED_ON_POSTGRES = 1000

# What Synapse names the driver of SQLite.
SQLITE = "sqlite3"

# How many rows a page has, and how many pages one statement reads. Never less of
# each for reading more at once: what lies deeper than a look would stay for good.
# SQLite has one thread for everybody.
ROWS_OF_PAGE = 1000
MOST_PAGES = 10
MOST_PAGES_ON_SQLITE = 2

# Above every stream ID: where the first page of a mailbox begins.
ABOVE_ALL = 2**63 - 1

# How much of a row is read, in characters. A notice has about 400; of a longer
# row not enough is read to parse it, so it is not recognised.
MOST_OF_ROW = 2048


class Transaction(Protocol):
    """What the statements use of Synapse's `LoggingTransaction`."""

    rowcount: int

    def execute(self, sql: str, parameters: Sequence[Any]) -> None: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


# Stream ID of a row, and its text where it may be a notice.
PageRow = Tuple[int, Optional[str]]


@attrs.frozen
class Page:
    """What was found in one page of a mailbox.

    Attributes:
        messages: Stream ID and decoded message of the rows that may be notices,
            newest first. Rows that a device deletion dooms are left out, and those of
            one mailbox with the same stream ID: it names both.
        newest_id: That of the page, of whatever message; 0 where there is none.
        below: The next page has the rows below this stream ID; `None` after the last.
    """

    messages: list[tuple[int, dict[str, Any]]]
    newest_id: int
    below: int | None

    @classmethod
    def of(cls, rows: Sequence[PageRow]) -> Page:
        """Return what some rows say, in whatever order: no database promises one."""
        named = Counter(stream_id for stream_id, _ in rows)
        cut, below = None, None
        if len(rows) >= ROWS_OF_PAGE:
            # More rows may have the lowest one: it is left to the next page, unless
            # that would be this page again.
            cut = min(named)
            below = cut + 1 if len(named) > 1 else cut
        messages = [
            (stream_id, message)
            for stream_id, text in sorted(rows, key=itemgetter(0), reverse=True)
            if text is not None and named[stream_id] == 1 and stream_id != cut
            if (message := decode(text)) is not None
        ]
        return cls(messages, max(named, default=0), below)


def most_pages(driver: str) -> int:
    return MOST_PAGES_ON_SQLITE if driver == SQLITE else MOST_PAGES


# Does not look for white space, of which Synapse writes none.
_decode_object = json.JSONDecoder().raw_decode


def decode(text: str) -> dict[str, Any] | None:
    """Return the JSON object that a row holds, if it is one and whole."""
    try:
        message, end = _decode_object(text) if text.startswith("{") else (None, -1)
        if end != len(text):
            message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def rows_of_pages(
    table: str, keys: tuple[str, ...], text: str, places: Iterable[tuple[Any, ...]]
) -> tuple[str, list[Any]]:
    """Return SQL for the rows of pages, each with its page's number, and parameters.

    A place has the values of `keys`, the columns that say whose rows they are, and the
    stream ID that the rows of its page are below.
    """
    columns = (*keys, "stream_id")
    here = ", ".join(columns)
    order = ", ".join(f"{column} DESC" for column in columns)
    pages: list[str] = []
    parameters: list[Any] = []
    for *whose, below in places:
        # A part for each, and between two places of the index: with plain equality,
        # PostgreSQL may walk the whole table by another index, back from its newest
        # row, where it believes that this mailbox has most of them.
        pages.append(f"""
            SELECT * FROM (
                SELECT {len(pages)} AS page, stream_id, {text} AS text FROM {table}
                WHERE ({here}) >= ({marks(len(keys))}, 0)
                    AND ({here}) < ({marks(len(columns))})
                ORDER BY {order} LIMIT {ROWS_OF_PAGE}
            ) AS page_{len(pages)}
        """)  # noqa: S608 names and numbers of our own are put in
        parameters += (*whose, *whose, below)
    return " UNION ALL ".join(pages), parameters


def text_of_notice(column: str, texts: Sequence[str]) -> tuple[str, list[Any]]:
    """Return SQL for a row's text where it may be a notice, and its parameters.

    The text of every row with a notice contains one of `texts`.
    """
    read = f"SUBSTR({column}, 1, {MOST_OF_ROW})"
    may_be_notice = " OR ".join([f"{read} LIKE ?"] * len(texts))
    sql = f"CASE WHEN {may_be_notice} THEN {read} END"
    return sql, [f"%{text}%" for text in texts]


def rows_to_delete(driver: str, table: str, place: dict[str, str]) -> tuple[str, ...]:
    """Return what a deletion compares with a sub-select, what that selects and joins.

    `place` says where it has each column of the index by which rows are found.
    """
    if driver != SQLITE:
        return f"({', '.join(place)})", ", ".join(place.values()), ""
    # It does not look for a number by an index where it is part of a tuple that begins
    # with a text: it would walk the mailbox. CROSS: in this order.
    same = " AND ".join(f"gone.{column} = {value}" for column, value in place.items())
    return "rowid", "gone.rowid", f"CROSS JOIN {table} AS gone ON {same}"


def most_deleted(driver: str) -> int:
    return MOST_DELETED if driver == SQLITE else MOST_DELETED_ON_POSTGRES


def batches(items: Iterable[Any], most: int) -> Iterator[list[Any]]:
    rest = list(items)
    for start in range(0, len(rest), most):
        yield rest[start : start + most]


def marks(count: int) -> str:
    return ", ".join("?" * count)


def numbered(count: int, width: int) -> str:
    """Return as many tuples: a number of our own from 0 on, and question marks."""
    return ", ".join(f"({number}, {marks(width)})" for number in range(count))


def tuples(count: int, width: int) -> str:
    return ", ".join([f"({marks(width)})"] * count)
