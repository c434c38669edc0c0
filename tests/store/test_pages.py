"""What is in mailboxes and outboxes is read page by page, on both databases."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from synapse_withheld.database import sql
from synapse_withheld.database.inbox import withheld_read_mailboxes
from synapse_withheld.database.outbox import withheld_read_outboxes
from synapse_withheld.database.sql import ABOVE_ALL, Page, most_pages
from synapse_withheld.rules.content import NO_OLM
from synapse_withheld.rules.mailbox import MailboxKey
from tests.store.conftest import (
    ELSEWHERE,
    GONE,
    HIDDEN,
    NAMESAKE,
    REMOTE,
    REMOTE_2,
    Connection,
    Q,
    R,
    is_remote,
)

UNAVAILABLE = "m.unavailable"
NOTICE = {
    "sender": "@s:here",
    "type": "m.room_key.withheld",
    "content": {"code": "m.no_olm"},
}

in_each_queue = pytest.mark.parametrize("key", [R, REMOTE], ids=["inbox", "outbox"])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page have three rows."""
    monkeypatch.setattr(sql, "ROWS_OF_PAGE", 3)


def pages(database: Connection, below: dict[MailboxKey, int]) -> dict[Any, Page]:
    """Read a page of each mailbox or outbox."""
    remote = any(map(is_remote, below))
    read = withheld_read_outboxes if remote else withheld_read_mailboxes
    return read(database, below, [NO_OLM])


def newest(database: Connection, *keys: MailboxKey) -> dict[Any, Page]:
    return pages(database, dict.fromkeys(keys, ABOVE_ALL))


def ids(page: Page) -> list[int]:
    return [stream_id for stream_id, _ in page.messages]


def walked(database: Connection, key: MailboxKey) -> list[int]:
    """Return the stream IDs of the messages of all pages."""
    found: list[int] = []
    below: int | None = ABOVE_ALL
    while below is not None:
        page = pages(database, {key: below})[key]
        found += ids(page)
        below = page.below
    return found


def test_of_existing_devices_the_notices_are_told(database: Connection) -> None:
    """Newest first, without other messages; what is newest, whatever it is.

    A hidden device is a cross-signing key.
    """
    database.add_device(R, Q)
    database.add_device(HIDDEN, hidden=True)
    database.put(HIDDEN, 6)
    database.put(R, 3, 1, 2)
    database.put(R, 4, code=UNAVAILABLE)
    database.put(GONE, 5)

    told = newest(database, R, Q, GONE, HIDDEN)

    expected = Page([(stream_id, NOTICE) for stream_id in (3, 2, 1)], 4, None)
    assert {R: expected, Q: Page([], 0, None)} == told


def test_of_an_outbox_what_waits_for_a_device_alone_is_told(
    database: Connection,
) -> None:
    """Newest first; not what shares an EDU, is for others or is no notice."""
    database.put(REMOTE, 1, 3, 2)
    database.put(REMOTE, 4, also=[REMOTE_2])
    database.put(ELSEWHERE, 5)
    database.put(REMOTE, 6, code=UNAVAILABLE)

    told = newest(database, REMOTE, REMOTE_2)

    expected = Page([(stream_id, NOTICE) for stream_id in (3, 2, 1)], 6, None)
    assert {REMOTE: expected, REMOTE_2: Page([], 6, None)} == told


def test_what_is_doomed_is_left_out(database: Connection) -> None:
    """Up to the position that the task names, and for that user only."""
    for key in (R, NAMESAKE):
        database.add_device(key)
        database.put(key, 5, 6)
    database.doom(R, 5)

    told = newest(database, R, NAMESAKE)

    assert {R: [6], NAMESAKE: [6, 5]} == {key: ids(page) for key, page in told.items()}


TOO_DEEP = '{"content":{"code":"m.no_olm","x":' + "[" * 1900 + "]" * 10
NO_OBJECTS = ['["m.no_olm"]', '{"m.no_olm":', TOO_DEEP]
NO_EDUS = ['{"messages":"m.no_olm"}', '{"messages":{"@r:there":"m.no_olm"}}']


@pytest.mark.parametrize(
    ("key", "texts"), [(R, NO_OBJECTS), (REMOTE, [*NO_OBJECTS, *NO_EDUS])]
)
def test_a_row_that_cannot_be_read_is_passed_over(
    database: Connection, key: MailboxKey, texts: list[str]
) -> None:
    """Too long, too deep for the parser, or whatever wrote it."""
    database.add_device(R)
    database.put(key, 1, reason="x" * 3000)
    database.put(key, 2)
    for stream_id, text in enumerate(texts, 3):
        database.put_text(key, stream_id, text)

    assert [2] == ids(newest(database, key)[key])


@in_each_queue
def test_a_page_has_a_thousand_rows(database: Connection, key: MailboxKey) -> None:
    """However many mailboxes are read: what lies deeper would stay for good."""
    others: list[MailboxKey] = [(f"@u{n}{key[0]}", "D") for n in range(9)]
    database.add_device(R)
    database.put(key, *range(1, 1011))

    page = newest(database, key, *others)[key]

    # The lowest is left to the next page, which may have more of it.
    assert list(range(1010, 11, -1)) == ids(page)
    assert (1010, 12) == (page.newest_id, page.below)


@pytest.mark.usefixtures("short")
@in_each_queue
@pytest.mark.parametrize(
    "stream_ids",
    [
        *(list(range(10, 10 * count + 10, 10)) for count in range(9)),
        *([*range(1, 7), *[n] * more] for n in range(1, 7) for more in range(1, 5)),
    ],
    ids=str,
)
def test_pages_have_every_row_once_unless_its_stream_id_occurs_twice(
    database: Connection, key: MailboxKey, stream_ids: list[int]
) -> None:
    """Newest first, wherever a page ends; such rows are left alone.

    A stream ID is what a row is deleted by.
    """
    database.add_device(R)
    database.put(key, *stream_ids)

    alone = [each for each, times in Counter(stream_ids).items() if times == 1]
    assert alone[::-1] == walked(database, key)


@in_each_queue
def test_what_is_no_notice_may_have_the_stream_id_too(
    database: Connection, key: MailboxKey
) -> None:
    """Deleting the notice would take it along."""
    database.add_device(R)
    database.put(key, 1, 2)
    database.put(REMOTE_2 if is_remote(key) else R, 2, code=UNAVAILABLE)

    assert [1] == walked(database, key)


@pytest.mark.usefixtures("short")
def test_mailboxes_of_one_server_share_a_page(database: Connection) -> None:
    """One that was read further gets nothing twice, and is not sent back."""
    database.put(REMOTE, 1, 3, 5, 7)
    database.put(REMOTE_2, 2, 4, 6)

    for below, expected in (
        (ABOVE_ALL, {REMOTE: ([7], 6), REMOTE_2: ([], 5)}),
        (6, {REMOTE: ([5], 4), REMOTE_2: ([4], 4)}),
    ):
        told = pages(database, {REMOTE: below, REMOTE_2: 5})
        assert expected == {key: (ids(page), page.below) for key, page in told.items()}


def test_as_many_pages_as_a_statement_may_read_fit_into_it(
    database: Connection,
) -> None:
    """An old SQLite takes 999 parameters."""
    most = most_pages(database.driver)
    below = {(f"@u{n}:hs{n}", "D"): n + 1 for n in range(most)}
    for read in (withheld_read_mailboxes, withheld_read_outboxes):
        read(database, below, ["mark"] * 20)
        assert len(database.executed[-1][1]) < 999
