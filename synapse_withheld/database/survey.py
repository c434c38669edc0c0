"""The SQL statements of the survey, which only read.

Both queues are walked against the order of their index, a bounded number of rows at a
time, as the sweep walks one of them.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Iterable, List, Sequence, Tuple

import attrs

from synapse_withheld.database.backlog import (
    MOST_OF_CHARACTER,
    Place,
    withheld_estimate_backlog,
)
from synapse_withheld.database.database import Database, RunStatement
from synapse_withheld.database.sql import (
    MOST_KEYS,
    MOST_OF_ROW,
    SQLITE,
    Transaction,
    batches,
    marks,
    tuples,
)
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.notice import Asker

# Texts of so many bytes are read whole: as long as a notice may be.
WHOLE = MOST_OF_ROW * MOST_OF_CHARACTER
# Of longer ones so many characters from both ends, with a line between that none has:
# Synapse writes the type there.
END = 1_000

# The place of a row, its text or both ends of it, and how many bytes it has.
InboxRow = Tuple[str, str, int, str, int]
# The same of an outbox: a server and a stream ID.
OutboxPlace = Tuple[str, int]
OutboxRow = Tuple[str, int, str, int]

# A device, and whether it is hidden.
Owner = Tuple[str, str, bool]


@attrs.frozen
class _Table:
    """A queue: its table, the columns of its index and that of the text."""

    name: str
    place: tuple[str, ...]
    text: str


_INBOX = _Table("device_inbox", ("user_id", "device_id", "stream_id"), "message_json")
_OUTBOX = _Table(
    "device_federation_outbox", ("destination", "stream_id"), "messages_json"
)


def withheld_survey_inbox(
    txn: Transaction, driver: str, before: Place | None, limit: int, down_to: str = ""
) -> List[InboxRow]:
    """Read rows of mailboxes against the order of the index.

    `before` is the place that the last row was at; `None` to begin. It ends with the
    user `down_to`.
    """
    return _walk(txn, driver, _INBOX, (before, down_to), limit)


def withheld_survey_outbox(
    txn: Transaction, driver: str, before: OutboxPlace | None, limit: int
) -> List[OutboxRow]:
    """Read rows of outboxes against the order of the index; otherwise the same."""
    return _walk(txn, driver, _OUTBOX, (before, ""), limit)


def withheld_survey_middle(txn: Transaction) -> str | None:
    """Read whose the middle one of all devices is; `None` if there are none.

    Roughly, half of the mailboxes are of users before this one.
    """
    sql = """
        SELECT user_id FROM devices ORDER BY user_id
        LIMIT 1 OFFSET (SELECT COUNT(*) / 2 FROM devices)
    """
    txn.execute(sql, ())
    return next((user_id for (user_id,) in txn.fetchall()), None)


def withheld_survey_owners(
    txn: Transaction, mailboxes: Sequence[MailboxKey]
) -> List[Owner]:
    """Read which devices of mailboxes exist, and whether they are hidden."""
    sql = f"""
        WITH mailbox(user_id, device_id) AS (VALUES {tuples(len(mailboxes), 2)})
        SELECT m.user_id, m.device_id, d.hidden FROM mailbox AS m
        INNER JOIN devices AS d
            ON d.user_id = m.user_id AND d.device_id = m.device_id
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, [part for mailbox in mailboxes for part in mailbox])
    return [(user, device, bool(hidden)) for user, device, hidden in txn.fetchall()]


def _walk(
    txn: Transaction,
    driver: str,
    table: _Table,
    between: tuple[tuple[Any, ...] | None, str],
    limit: int,
) -> list[Any]:
    before, down_to = between
    text, columns = table.text, table.place
    here = ", ".join(columns)
    from_here = f"AND ({here}) < ({marks(len(columns))})" if before else ""
    size, end = f"OCTET_LENGTH({text})", f"RIGHT({text}, {END})"
    if driver == SQLITE:
        # Old ones do not know these.
        size, end = f"LENGTH(CAST({text} AS BLOB))", f"SUBSTR({text}, -{END})"
    ends = f"SUBSTR({text}, 1, {END}) || '\n' || {end}"
    order = ", ".join(f"{column} DESC" for column in columns)
    sql = f"""
        SELECT {here}, CASE WHEN {size} <= {WHOLE} THEN {text} ELSE {ends} END, {size}
        FROM {table.name}
        WHERE {columns[0]} >= ? {from_here}
        ORDER BY {order}
        LIMIT ?
    """  # noqa: S608 names and numbers of our own are put in
    txn.execute(sql, (down_to, *(before or ()), limit))
    return txn.fetchall()


# Awaitable: (statement that walks, place that the last row was at, how many, and more
# arguments of the statement)
Walk = Callable[..., Awaitable[List[Any]]]

# How many devices are remembered to be there or gone.
MOST_REMEMBERED = 10_000


class SurveyDatabase(Database):
    """What the survey asks: all that the sweep asks, and more."""

    def __init__(self, run: RunStatement, driver: str, walk: Walk) -> None:
        """Keep what runs statements.

        Args:
            run: As of `Database`.
            driver: As Synapse names it: `sqlite3` or `psycopg2`.
            walk: Runs a statement that walks; it may be ahead of who asks.
        """
        super().__init__(run, driver)
        self._walk = walk
        self._is_gone: dict[Asker, bool] = {}
        self._settled: int | None = None

    async def settled(self) -> int:
        """Return the position when the survey began: it tells what was there then."""
        if self._settled is None:
            self._settled = await super().settled()
        return self._settled

    async def middle(self) -> str | None:
        """Return a user whose mailboxes are in the middle; `None` if unknown."""
        middle: str | None = await self._run(withheld_survey_middle)
        return middle

    async def read_inbox(
        self, before: Place | None, limit: int, down_to: str
    ) -> list[InboxRow]:
        """Read rows of mailboxes."""
        return await self._walk(withheld_survey_inbox, before, limit, down_to)

    async def read_outbox(
        self, before: OutboxPlace | None, limit: int
    ) -> list[OutboxRow]:
        """Read rows of outboxes."""
        return await self._walk(withheld_survey_outbox, before, limit)

    async def owners(self, mailboxes: Iterable[MailboxKey]) -> dict[MailboxKey, bool]:
        """Tell which devices exist, and of each whether it is hidden."""
        owners: dict[MailboxKey, bool] = {}
        for some in batches(mailboxes, MOST_KEYS):
            for user_id, device_id, hidden in await self._run(
                withheld_survey_owners, some
            ):
                owners[user_id, device_id] = hidden
        return owners

    async def gone(self, askers: Iterable[Asker]) -> set[Asker]:
        """Return which devices do not exist any more, as of when they were asked."""
        askers = set(askers)
        if len(self._is_gone) > MOST_REMEMBERED:
            self._is_gone = {}
        new = askers - self._is_gone.keys()
        gone = await super().gone(new)
        self._is_gone.update((asker, asker in gone) for asker in new)
        return {asker for asker in askers if self._is_gone[asker]}

    async def estimate(self) -> int:
        """Estimate how many rows both queues have; 0 if that is unknown."""
        in_outboxes: int = await self._run(
            withheld_estimate_backlog, self._driver, _OUTBOX.name
        )
        return await super().estimate() + in_outboxes
