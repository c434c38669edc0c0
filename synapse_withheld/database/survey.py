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
from synapse_withheld.database.database import Database
from synapse_withheld.database.sql import (
    MOST_OF_ROW,
    SQLITE,
    Transaction,
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

OUTBOX_TABLE = "device_federation_outbox"


def withheld_survey_inbox(
    txn: Transaction, driver: str, before: Place | None, limit: int, down_to: str = ""
) -> List[InboxRow]:
    """Read rows of mailboxes below a place, down to a user."""
    columns = ("user_id", "device_id", "stream_id")
    sql = _walk("device_inbox", columns, "message_json", driver, begun=bool(before))
    txn.execute(sql, (down_to, *(before or ()), limit))
    return txn.fetchall()


def withheld_survey_outbox(
    txn: Transaction, driver: str, before: OutboxPlace | None, limit: int
) -> List[OutboxRow]:
    columns = ("destination", "stream_id")
    sql = _walk(OUTBOX_TABLE, columns, "messages_json", driver, begun=bool(before))
    txn.execute(sql, ("", *(before or ()), limit))
    return txn.fetchall()


def withheld_survey_middle(txn: Transaction) -> str | None:
    """Read the user before whom about half of the mailboxes are, if there is any."""
    sql = """
        SELECT user_id FROM devices ORDER BY user_id
        LIMIT 1 OFFSET (SELECT COUNT(*) / 2 FROM devices)
    """
    txn.execute(sql, ())
    return next((user_id for (user_id,) in txn.fetchall()), None)


def withheld_survey_owners(
    txn: Transaction, mailboxes: Sequence[MailboxKey]
) -> List[Tuple[str, str, bool]]:
    """Read which devices exist, and whether they are hidden."""
    sql = f"""
        WITH mailbox(user_id, device_id) AS (VALUES {tuples(len(mailboxes), 2)})
        SELECT m.user_id, m.device_id, d.hidden FROM mailbox AS m
        INNER JOIN devices AS d
            ON d.user_id = m.user_id AND d.device_id = m.device_id
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, [part for mailbox in mailboxes for part in mailbox])
    return [(user, device, bool(hidden)) for user, device, hidden in txn.fetchall()]


def _walk(
    table: str, columns: tuple[str, ...], text: str, driver: str, *, begun: bool
) -> str:
    """Return SQL for rows against the order of the index.

    Its parameters are the owner that it ends with, the place that it was at last, if it
    has begun, and how many rows.
    """
    here = ", ".join(columns)
    from_here = f"AND ({here}) < ({marks(len(columns))})" if begun else ""
    size, end = f"OCTET_LENGTH({text})", f"RIGHT({text}, {END})"
    if driver == SQLITE:
        # Old ones do not know these.
        size, end = f"LENGTH(CAST({text} AS BLOB))", f"SUBSTR({text}, -{END})"
    ends = f"SUBSTR({text}, 1, {END}) || '\n' || {end}"
    order = ", ".join(f"{column} DESC" for column in columns)
    return f"""
        SELECT {here}, CASE WHEN {size} <= {WHOLE} THEN {text} ELSE {ends} END, {size}
        FROM {table}
        WHERE {columns[0]} >= ? {from_here}
        ORDER BY {order}
        LIMIT ?
    """  # noqa: S608 names and numbers of our own are put in


# Awaitable: (statement that walks, place that the last row was at, how many, and more
# arguments of the statement)
Walk = Callable[..., Awaitable[List[Any]]]

# How many devices are remembered to be there or gone.
MOST_REMEMBERED = 10_000


@attrs.define(eq=False)
class SurveyDatabase(Database):
    """What the survey asks: all that the sweep asks, and more.

    Attributes:
        walk: Runs a statement that walks; it may be ahead of who asks.
    """

    walk: Walk
    _is_gone: dict[Asker, bool] = attrs.field(factory=dict, init=False)
    _settled: int | None = attrs.field(default=None, init=False)

    async def settled(self) -> int:
        """Return the position when the survey began: it tells what was there then."""
        if self._settled is None:
            self._settled = await super().settled()
        return self._settled

    async def middle(self) -> str | None:
        return await self._run(withheld_survey_middle)

    async def owners(self, mailboxes: Iterable[MailboxKey]) -> dict[MailboxKey, bool]:
        """Tell which devices exist, and of each whether it is hidden."""
        owners: dict[MailboxKey, bool] = {}
        for some in await self._run_each(withheld_survey_owners, mailboxes):
            owners.update(((user, device), hidden) for user, device, hidden in some)
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
        estimate = withheld_estimate_backlog
        in_outboxes = await self._run(estimate, self.driver, OUTBOX_TABLE)
        return await super().estimate() + in_outboxes
