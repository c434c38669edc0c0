"""Each statement says and does what it should, on both databases."""

from __future__ import annotations

import json
from typing import Any, Iterator

import pytest

from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.database import (
    backlog,
    inbox,
    outbox,
    survey,
)
from synapse_withheld.database import (
    inbox_deletions as deletions,
)
from synapse_withheld.database.database import Database
from synapse_withheld.database.inbox import DOOMING_TASK
from synapse_withheld.database.sql import ABOVE_ALL, Page, most_deleted, most_pages
from synapse_withheld.rules.content import NO_OLM
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from tests.model.tables import compact
from tests.store.conftest import (
    ELSEWHERE,
    EMPTY,
    GONE,
    HIDDEN,
    NAMESAKE,
    REMOTE,
    REMOTE_2,
    Connection,
    Q,
    R,
    connected,
    notice,
)

MESSAGE = json.loads(notice(R))
SAID, OTHER_CODE = MESSAGE["content"], {"code": "m.unavailable"}
STRANGER: MailboxKey = ("@nobody:hs", "R")
# What was announced, and is not in a copy of its user's list that is kept up to date,
# is gone: a request may overtake the announcement of its device.
ABROAD: list[MailboxKey] = [(f"@u{n}:abroad", "R") for n in range(5)]
LEFT, UNHEARD, UNTRACKED, STALE, LISTED = ABROAD


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Put into all tables what is asked about, and its likes beside it."""
    with connected(request.param, request) as database:
        database.add("users", ["@r:hs"])
        database.add_device(R, Q, EMPTY, HIDDEN, ("@q:hs", "GONE"))
        database.add("dehydrated_devices", Q)
        for key, *stream_ids in (
            (R, 3, 9, 5),
            (("@r:hs", "Q"), 1),
            (("@r:hs", "S"), 12),
            (Q, 7),
            (HIDDEN, 4),
            (GONE, 4),
            (REMOTE, 5, 3),
            (ELSEWHERE, 5),
        ):
            database.put(key, *stream_ids)
        for key in (R, REMOTE):
            database.put(key, 10, text=notice(key, **OTHER_CODE))
        for stream_id, messages in (
            (8, {"@r:there": {"R": OTHER_CODE, "R2": SAID}}),
            (9, {"@r:there": {"R": SAID}, "@q:there": {"R": OTHER_CODE}}),
        ):
            database.put(REMOTE, stream_id, text=compact({"messages": messages}))
        changes = [(7, *R), (9, *R), (8, *REMOTE), (6, *REMOTE), (1, UNHEARD[0], "S")]
        changes += [(1, *key) for key in ABROAD if key != UNHEARD]
        database.add("device_lists_stream", *changes)
        tracked = [(user, "1") for user, _ in ABROAD if user != UNTRACKED[0]]
        database.add("device_lists_remote_extremeties", *tracked)
        database.add("device_lists_remote_resync", (STALE[0], 1))
        database.add("device_lists_remote_cache", (*LISTED, "{}"), (LEFT[0], "S", "{}"))
        yield database


@pytest.mark.parametrize(
    ("statement", "asked", "told"),
    [
        # Of rows whose device exists: whether they are there, the last change of the
        # device, and whether its reader never acknowledges.
        (
            inbox.withheld_read_queued,
            [[(R, 5), (R, 6), (Q, 7), (HIDDEN, 4), (GONE, 4)]],
            {
                (R, 5): RowState(queued=True, device_list_id=9),
                (R, 6): RowState(queued=False, device_list_id=9),
                (Q, 7): RowState(queued=True, never_acknowledged=True),
            },
        ),
        # A change of the device matters for what was sent.
        (
            outbox.withheld_read_queued_edus,
            [[(REMOTE, 5), (REMOTE, 6), (ELSEWHERE, 5), (ELSEWHERE, 4)]],
            {
                (REMOTE, 5): RowState(queued=True),
                (REMOTE, 6): RowState(queued=False, device_list_id=8),
                (ELSEWHERE, 5): RowState(queued=True),
                (ELSEWHERE, 4): RowState(queued=False),
            },
        ),
        # The notices of devices that exist, newest first; the newest row of any kind.
        (
            inbox.withheld_read_mailboxes,
            [dict.fromkeys((R, Q, EMPTY, GONE, HIDDEN), ABOVE_ALL), [NO_OLM]],
            {
                R: Page([(n, MESSAGE) for n in (9, 5, 3)], 10, None),
                Q: Page([(7, MESSAGE)], 7, None),
                EMPTY: Page([], 0, None),
            },
        ),
        # Of an outbox only what is alone in its EDU.
        (
            outbox.withheld_read_outboxes,
            [dict.fromkeys((REMOTE, REMOTE_2), ABOVE_ALL), [NO_OLM]],
            {
                REMOTE: Page([(5, MESSAGE), (3, MESSAGE)], 10, None),
                REMOTE_2: Page([], 10, None),
            },
        ),
        # The oldest and the newest row of a mailbox whose device exists.
        (
            inbox.withheld_read_ends,
            [[R, Q, EMPTY, HIDDEN, GONE]],
            {R: (3, 10), Q: (7, 7), EMPTY: (0, 0)},
        ),
        # Hidden devices are cross-signing keys, which no message reaches.
        (inbox.withheld_read_devices, [["@r:hs", "@x:hs"]], [EMPTY, R]),
        # But they are there; of a user whom nobody knows nothing is known.
        (inbox.withheld_read_gone, [[R, HIDDEN, GONE, STRANGER]], [GONE]),
        (inbox.withheld_read_gone, [[*ABROAD, (LEFT[0], "S")]], [LEFT]),
        (survey.withheld_survey_owners, [[R, HIDDEN, GONE]], [(*HIDDEN, 1), (*R, 0)]),
        (backlog.withheld_read_newest, [], 12),
        # Roughly, half of the mailboxes are of users before this one.
        (survey.withheld_survey_middle, [], "@r:hs"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_of_what_is_there_this_is_told(
    filled: Connection, statement: Any, asked: Any, told: Any
) -> None:
    answer = statement(filled, *asked)
    assert told == (sorted(answer) if isinstance(answer, list) else answer)


@pytest.mark.parametrize(
    ("task", "hides", "forbids"),
    [
        ((5, "scheduled", DOOMING_TASK), True, True),
        ((5, "active", DOOMING_TASK), True, True),
        ((4, "active", DOOMING_TASK), False, True),
        ((9, "complete", DOOMING_TASK), False, False),
        ((9, "active", "something_else"), False, False),
    ],
)
def test_rows_are_left_to_a_deletion_of_their_device_that_is_under_way(
    database: Connection, task: Any, hides: bool, forbids: bool
) -> None:
    """It hides those up to its position, of that user; and none of it is deleted.

    Synapse's loop would end early. What vanishes goes without a newer row.
    """
    both = (R, NAMESAKE)
    database.add_device(*both)
    for key in both:
        database.put(key, 1, 5)
    up_to, status, action = task
    named = {"user_id": R[0], "device_id": R[1], "up_to_stream_id": up_to}
    database.add("scheduled_tasks", ("id", action, status, R[1], compact(named)))

    shown = {(NAMESAKE, 5)} if hides else {(R, 5), (NAMESAKE, 5)}
    assert shown == inbox.withheld_read_queued(database, [(R, 5), (NAMESAKE, 5)]).keys()
    read = inbox.withheld_read_mailboxes(database, dict.fromkeys(both, ABOVE_ALL), [""])
    found = {(key, row[0]) for key, page in read.items() for row in page.messages}
    assert shown == {each for each in found if each[1] == 5}
    assert ({R} if forbids else set()) == backlog.withheld_read_doomed(database, both)

    deletes: Any
    for deletes, rows in (
        (deletions.withheld_delete_superseded, [Superseded(key, 1, 5) for key in both]),
        (deletions.withheld_delete_vanished, [(R, 5), (NAMESAKE, 5), (NAMESAKE, 6)]),
    ):
        assert (1 if forbids else 2) == deletes(database, database.driver, rows)
    assert ([1, 5] * forbids, []) == (database.left(R), database.left(NAMESAKE))


@pytest.mark.parametrize(
    ("key", "other", "delete"),
    [
        (R, Q, deletions.withheld_delete_superseded),
        (REMOTE, ELSEWHERE, outbox.withheld_delete_superseded_edus),
    ],
)
def test_only_rows_with_a_newer_row_are_deleted(
    database: Connection, key: MailboxKey, other: MailboxKey, delete: Any
) -> None:
    """I3: the deletion itself looks for it there, and a chain goes at once."""
    database.put(key, 1, 2, 3, 4, 5)
    database.put(other, 1, 9)
    pairs = [(1, 2), (2, 3), (4, 9), (5, 5)]
    rows = [Superseded(key, older, newer) for older, newer in pairs]

    assert 2 == delete(database, database.driver, rows)
    assert ([3, 4, 5], [1, 9]) == (database.left(key), database.left(other))


def test_a_batch_is_no_more_than_an_old_sqlite_takes(database: Connection) -> None:
    """999 parameters; each row with a newer one of its own takes the most."""
    most = most_deleted(database.driver)
    covered = [Superseded(R, 2 * n + 1, 2 * n + 2) for n in range(most + 1)]
    database.put(R, *range(1, 2 * len(covered) + 1))
    database.executed.clear()
    asked = Database(database.run, database.driver)
    assert most + 1 == driven(asked.delete(covered))
    assert 2 == len(database.executed)

    pages = {(f"@u{n}:hs{n}", "D"): n + 1 for n in range(most_pages(database.driver))}
    for read in (inbox.withheld_read_mailboxes, outbox.withheld_read_outboxes):
        read(database, pages, ["mark"] * 20)
    counts = [len(parameters) for _, parameters in database.executed]
    assert not database.is_sqlite or max(counts) < 1000
    assert [row.newer_stream_id for row in covered] == database.left(R)


def test_the_number_of_rows_is_estimated(database: Connection) -> None:
    """Near enough for a progress bar, without counting."""
    assert 0 == backlog.withheld_read_newest(database)
    database.put(R, *range(1, 401))
    database.execute("ANALYZE")
    assert 400 == backlog.withheld_estimate_backlog(database, database.driver)
