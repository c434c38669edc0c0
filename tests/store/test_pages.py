"""What is in mailboxes and outboxes is read page by page, on both databases."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from synapse_withheld.database import sql
from synapse_withheld.database.inbox import withheld_read_mailboxes
from synapse_withheld.database.outbox import withheld_read_outboxes
from synapse_withheld.database.sql import ABOVE_ALL, Page, most_pages
from synapse_withheld.rules.content import NO_OLM
from synapse_withheld.rules.mailbox import MailboxKey
from tests.store.conftest import Connection
from tests.store.test_outbox_statements import R2 as REMOTE_2
from tests.store.test_outbox_statements import Q as ELSEWHERE
from tests.store.test_outbox_statements import R as REMOTE
from tests.store.test_outbox_statements import add_edu
from tests.store.test_statements import (
    GONE,
    NOTICE,
    Q,
    R,
    add_device,
    add_row,
    add_task,
)

OTHER: MailboxKey = ("@other:hs", "R")
HIDDEN: MailboxKey = ("@r:hs", "HIDDEN")
UNAVAILABLE = {"code": "m.unavailable"}


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page have three rows."""
    monkeypatch.setattr(sql, "ROWS_OF_PAGE", 3)


def mailboxes(
    database: Connection, *keys: MailboxKey, below: int = ABOVE_ALL
) -> dict[MailboxKey, Page]:
    """Read a page of each mailbox."""
    return withheld_read_mailboxes(database, dict.fromkeys(keys, below), [NO_OLM])


def outboxes(
    database: Connection, *keys: MailboxKey, below: int = ABOVE_ALL
) -> dict[MailboxKey, Page]:
    """Read a page of each outbox."""
    return withheld_read_outboxes(database, dict.fromkeys(keys, below), [NO_OLM])


def ids(page: Page) -> list[int]:
    """Return the stream IDs of the messages."""
    return [stream_id for stream_id, _ in page.messages]


def walked(database: Connection, key: MailboxKey) -> list[list[int]]:
    """Return the stream IDs of the messages page by page, to the end."""
    read = mailboxes if key == R else outboxes
    pages: list[list[int]] = []
    below: int | None = ABOVE_ALL
    while below is not None:
        page = read(database, key, below=below)[key]
        pages.append(ids(page))
        below = page.below
    return pages


def test_of_existing_devices_the_notices_are_told(database: Connection) -> None:
    """Newest first, without other messages; what is newest, whatever it is.

    A hidden device is a cross-signing key.
    """
    add_device(database, R)
    add_device(database, Q)
    add_device(database, HIDDEN, hidden=True)
    add_row(database, HIDDEN, 6)
    for stream_id in (3, 1, 2):
        add_row(database, R, stream_id)
    add_row(database, R, 4, content=UNAVAILABLE)
    add_row(database, GONE, 5)

    pages = mailboxes(database, R, Q, GONE, HIDDEN)

    assert {R, Q} == pages.keys()
    assert ([3, 2, 1], 4, None) == (ids(pages[R]), pages[R].newest_id, pages[R].below)
    assert pages[R].messages[0][1] == NOTICE
    assert Page([], 0, None) == pages[Q]


def test_what_is_doomed_is_left_out(database: Connection) -> None:
    """Up to the position that the task names, and for that user only."""
    for key in (R, OTHER):
        add_device(database, key)
        add_row(database, key, 5)
        add_row(database, key, 6)
    add_task(database, R, 5)

    pages = mailboxes(database, R, OTHER)

    assert {R: [6], OTHER: [6, 5]} == {key: ids(page) for key, page in pages.items()}


def test_a_row_that_cannot_be_parsed_is_passed_over(database: Connection) -> None:
    """Too long, or too deep for the parser."""
    add_device(database, R)
    add_row(database, R, 1, reason="x" * 3000)
    text = '{"content":{"code":"m.no_olm","x":' + "[" * 1900 + "]" * 10
    database.execute("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", (*R, 2, text))
    add_row(database, R, 3)

    assert [3] == ids(mailboxes(database, R)[R])


@pytest.mark.parametrize("key", [R, REMOTE])
def test_a_page_has_a_thousand_rows(database: Connection, key: MailboxKey) -> None:
    """However many mailboxes are read: what lies deeper would stay for good."""
    others: list[MailboxKey] = [(f"@u{n}{key[0]}", "D") for n in range(9)]
    add_device(database, R)
    for stream_id in range(1, 1011):
        add = add_row if key == R else add_edu
        add(database, *_row(key, stream_id))

    pages = (mailboxes if key == R else outboxes)(database, key, *others)

    # The lowest is left to the next page, which may have more of it.
    assert list(range(1010, 11, -1)) == ids(pages[key])
    assert (1010, 12) == (pages[key].newest_id, pages[key].below)


def _row(key: MailboxKey, stream_id: int) -> tuple[Any, ...]:
    return (key, stream_id) if key == R else (stream_id, key)


def _add(database: Connection, key: MailboxKey, *stream_ids: int) -> None:
    add_device(database, R)
    for stream_id in stream_ids:
        (add_row if key == R else add_edu)(database, *_row(key, stream_id))


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("key", [R, REMOTE])
@pytest.mark.parametrize("count", range(9))
def test_pages_have_every_row_once(
    database: Connection, key: MailboxKey, count: int
) -> None:
    """Newest first, and it ends, however many there are."""
    stream_ids = list(range(10, 10 * count + 10, 10))
    _add(database, key, *stream_ids)

    pages = walked(database, key)

    assert stream_ids[::-1] == list(itertools.chain(*pages))
    assert len(pages) == 1 + max(0, count - 1) // 2


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize("key", [R, REMOTE])
@pytest.mark.parametrize("twice", range(1, 7))
@pytest.mark.parametrize("times", [2, 3, 4, 5])
def test_a_stream_id_that_occurs_twice_is_left_alone(
    database: Connection, key: MailboxKey, twice: int, times: int
) -> None:
    """Wherever a page ends: it is what a row is deleted by."""
    stream_ids = [1, 2, 3, 4, 5, 6]
    _add(database, key, *stream_ids, *[twice] * (times - 1))

    stream_ids.remove(twice)
    assert stream_ids[::-1] == list(itertools.chain(*walked(database, key)))


@pytest.mark.parametrize("key", [R, REMOTE])
def test_what_is_no_notice_may_have_the_stream_id_too(
    database: Connection, key: MailboxKey
) -> None:
    """Deleting the notice would take it along."""
    _add(database, key, 1, 2)
    if key == R:
        add_row(database, R, 2, content=UNAVAILABLE)
    else:
        add_edu(database, 2, REMOTE_2, **UNAVAILABLE)

    assert [[1]] == walked(database, key)


def test_of_an_outbox_what_waits_for_a_device_alone_is_told(
    database: Connection,
) -> None:
    """Newest first; not what shares an EDU, is for others or is no notice."""
    _add(database, REMOTE, 1, 3, 2)
    add_edu(database, 4, REMOTE, REMOTE_2)
    add_edu(database, 5, ELSEWHERE)
    add_edu(database, 6, REMOTE, code="m.unavailable")
    add_edu(database, 7, REMOTE, reason="x" * 3000)

    pages = outboxes(database, REMOTE, REMOTE_2)

    assert {REMOTE, REMOTE_2} == pages.keys()
    assert Page([], 7, None) == pages[REMOTE_2]
    assert [3, 2, 1] == ids(pages[REMOTE])
    expected = {
        "sender": "@s:here",
        "type": "m.room_key.withheld",
        "content": {"code": "m.no_olm"},
    }
    assert expected == pages[REMOTE].messages[0][1]


def test_an_edu_that_cannot_be_read_is_passed_over(database: Connection) -> None:
    """Whatever wrote it."""
    statement = "INSERT INTO device_federation_outbox VALUES (?, ?, ?, ?, NULL)"
    texts = ("[]", '{"messages": []}', '{"messages": {"@r:there": []}}', "{", "{}")
    for stream_id, text in enumerate(texts, 1):
        row = ("there", stream_id, 0, text.replace("}", ', "m.no_olm": 1}', 1))
        database.execute(statement, row)
    _add(database, REMOTE, 9)

    assert [9] == ids(outboxes(database, REMOTE)[REMOTE])


@pytest.mark.usefixtures("_short")
def test_mailboxes_of_one_server_share_a_page(database: Connection) -> None:
    """One that was read further gets nothing twice, and is not sent back."""
    for stream_id in range(1, 8):
        add_edu(database, stream_id, REMOTE if stream_id % 2 else REMOTE_2)

    below = {REMOTE: ABOVE_ALL, REMOTE_2: 5}
    pages = withheld_read_outboxes(database, below, [NO_OLM])
    assert ([7], 6) == (ids(pages[REMOTE]), pages[REMOTE].below)
    assert ([], 5) == (ids(pages[REMOTE_2]), pages[REMOTE_2].below)
    below = {REMOTE: 6, REMOTE_2: 5}
    pages = withheld_read_outboxes(database, below, [NO_OLM])
    assert ([5], 4) == (ids(pages[REMOTE]), pages[REMOTE].below)
    assert ([4], 4) == (ids(pages[REMOTE_2]), pages[REMOTE_2].below)


def test_as_many_pages_as_a_statement_may_read_fit_into_it(
    database: Connection,
) -> None:
    """An old SQLite takes 999 parameters."""
    most = most_pages(database.driver)
    below = {(f"@u{n}:hs{n}", "D"): n + 1 for n in range(most)}
    for read in (withheld_read_mailboxes, withheld_read_outboxes):
        read(database, below, ["mark"] * 20)
        assert len(database.executed[-1][1]) < 999
