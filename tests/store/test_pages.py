"""What is in queues is read page by page, or walked, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.database import sql
from synapse_withheld.database.backlog import withheld_read_backlog
from synapse_withheld.database.inbox import withheld_read_mailboxes
from synapse_withheld.database.outbox import withheld_read_outboxes
from synapse_withheld.database.sql import ABOVE_ALL, MOST_OF_ROW, Page
from synapse_withheld.database.survey import (
    END,
    WHOLE,
    withheld_survey_inbox,
    withheld_survey_outbox,
)
from synapse_withheld.rules.content import NO_OLM
from synapse_withheld.rules.mailbox import MailboxKey
from tests.store.conftest import (
    REMOTE,
    REMOTE_2,
    Connection,
    Q,
    R,
    is_remote,
    notice,
)

in_each_queue = pytest.mark.parametrize("key", [R, REMOTE], ids=["inbox", "outbox"])


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "ROWS_OF_PAGE", 3)


def pages(database: Connection, below: dict[MailboxKey, int]) -> dict[Any, Page]:
    """Read a page of each mailbox or outbox."""
    remote = any(map(is_remote, below))
    read = withheld_read_outboxes if remote else withheld_read_mailboxes
    return read(database, below, [NO_OLM])


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
    for stream_id, text in enumerate([notice(key, reason="x" * 3000), *texts], 2):
        database.put(key, stream_id, text=text)
    database.put(key, 1)

    assert [1] == walked(database, key)


@in_each_queue
def test_a_page_has_a_thousand_rows(database: Connection, key: MailboxKey) -> None:
    """However many mailboxes are read: what lies deeper would stay for good."""
    others: list[MailboxKey] = [(f"@u{n}{key[0]}", "D") for n in range(9)]
    database.add_device(R)
    database.put(key, *range(1, 1011))

    page = pages(database, dict.fromkeys([key, *others], ABOVE_ALL))[key]

    # The lowest is left to the next page, which may have more of it.
    assert (list(range(1010, 11, -1)), 12) == (ids(page), page.below)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("user", ["@u{}:hs", "@u:{}there"], ids=["inbox", "outbox"])
def test_pages_have_every_row_once_unless_its_stream_id_occurs_twice(
    database: Connection, user: str
) -> None:
    """Newest first, wherever a page ends, whatever has the stream ID too.

    It is what a row is deleted by: the other would be taken along.
    """
    six = list(range(1, 7))
    cases = [(six, [n] * more) for n in six for more in range(1, 5)]
    cases += [(six[:count], []) for count in range(7)]
    for number, (stream_ids, twins) in enumerate(cases):
        for code in ("m.no_olm", "m.unavailable"):
            key = (user.format(code + str(number)), "R")
            database.add_device(key)
            database.put(key, *stream_ids)
            database.put(key, *twins, text=notice(key, code=code))

            alone = [each for each in stream_ids[::-1] if each not in twins]
            assert alone == walked(database, key), (stream_ids, twins, code)


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


@pytest.mark.parametrize("statement", [withheld_read_backlog, withheld_survey_inbox])
def test_rows_are_read_against_the_index_and_in_bounded_batches(
    database: Connection, statement: Any
) -> None:
    """Mailbox by mailbox, each from its newest row."""
    database.put(Q, 2)
    database.put(R, 1, 3)

    def read(*asked: Any) -> list[Any]:
        return [row[:3] for row in statement(database, database.driver, *asked)]

    assert [(*R, 3), (*R, 1)] == read(None, 2)
    assert [(*R, 3), (*R, 1)] == read((*R, ABOVE_ALL), 2)
    assert [(*Q, 2)] == read((*R, 1), 2)
    assert [] == read((*Q, 2), 2)


def test_what_is_too_long_for_a_notice_is_not_read(database: Connection) -> None:
    """So that memory stays bounded, whatever was stored and in whatever script."""
    most = MOST_OF_ROW - len(notice(R, reason=""))
    texts = [notice(R, reason="x" * most), notice(R, reason="\N{SNOWMAN}"), "x" * 9000]
    for stream_id, text in enumerate(texts):
        database.put(R, stream_id, text=text)
    rows = withheld_read_backlog(database, database.driver, None, 3)
    assert [None, *texts[1::-1]] == [text for *_, text in rows]


def test_of_long_texts_both_ends_are_read(database: Connection) -> None:
    """So that memory stays bounded, and the type is known all the same."""
    fits, longer = "x" * (WHOLE - 2) + "é", "é" + "x" * WHOLE
    ends = f"{longer[:END]}\n{longer[-END:]}"
    for key, place, statement in (
        (R, R, withheld_survey_inbox),
        (REMOTE, ("there",), withheld_survey_outbox),
    ):
        database.put(key, 2, text=fits)
        database.put(key, 1, text=longer)
        expected = [(*place, 2, fits, WHOLE), (*place, 1, ends, WHOLE + 2)]
        walk: Any = statement
        assert expected == walk(database, database.driver, None, 9)
