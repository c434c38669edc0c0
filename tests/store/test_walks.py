"""The sweep and the survey on both databases: what they read, and what they find."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Collection

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.database.backlog import (
    withheld_estimate_backlog,
    withheld_read_backlog,
    withheld_read_doomed,
    withheld_read_newest,
)
from synapse_withheld.database.database import Database
from synapse_withheld.database.sql import ABOVE_ALL, MOST_OF_ROW, most_deleted
from synapse_withheld.database.survey import (
    END,
    WHOLE,
    SurveyDatabase,
    withheld_survey_inbox,
    withheld_survey_middle,
    withheld_survey_outbox,
)
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.kinds import UNREADABLE
from synapse_withheld.sweep.survey import ALL_RULES, Survey
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.backlog import Table, notice, other
from tests.store.conftest import (
    NAMESAKE,
    REMOTE,
    Connection,
    Q,
    R,
)

MAILBOXES = [(f"@ü{user}:hs", f"D{device}") for user in range(4) for device in "AB"]
TEXTS = [other(), notice(), notice("other"), notice(code="m.unavailable")]


def fill(database: Connection) -> Table:
    """Queue rows in several mailboxes, the same each time; return them."""
    chance = random.Random(11)  # noqa: S311 it decides nothing secret
    rows = {
        (*chance.choice(MAILBOXES), number): chance.choice(TEXTS)
        for number in range(1, 401)
    }
    for (*key, stream_id), text in rows.items():
        database.put_text((key[0], key[1]), stream_id, text)
    return rows


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
    most = MOST_OF_ROW - len(notice(reason=""))
    texts = [notice(reason="x" * most), notice(reason="\N{SNOWMAN}"), "x" * 9000]
    for stream_id, text in enumerate(texts):
        database.put_text(R, stream_id, text)
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
        database.put_text(key, 2, fits)
        database.put_text(key, 1, longer)
        expected = [(*place, 2, fits, WHOLE), (*place, 1, ends, WHOLE + 2)]
        walk: Any = statement
        assert expected == walk(database, database.driver, None, 9)


def test_doomed_is_what_an_unfinished_deletion_names(database: Connection) -> None:
    """Neither a namesake of another user nor what was finished."""
    database.doom(R, 5, "scheduled")
    database.doom(Q, 5, "complete")
    assert {R} == withheld_read_doomed(database, [R, Q, NAMESAKE])


def test_the_number_of_rows_is_estimated(database: Connection) -> None:
    """Near enough for a progress bar, without counting."""
    assert 0 == withheld_read_newest(database)
    database.put(R, *range(1, 401))
    database.execute("ANALYZE")
    assert 400 == withheld_estimate_backlog(database, database.driver)
    assert 400 == withheld_read_newest(database)


def test_as_many_as_a_batch_has_go_in_few_statements(database: Connection) -> None:
    """Each row with a newer one of its own takes the most parameters."""
    most = most_deleted(database.driver)
    covered = [Superseded(R, 2 * n + 1, 2 * n + 2) for n in range(most + 1)]
    database.put(R, *range(1, 2 * len(covered) + 1))
    database.executed.clear()
    asked = Database(database.run, database.driver)
    assert most + 1 == driven(asked.delete(covered))
    counts = [len(parameters) for _, parameters in database.executed]
    assert [row.newer_stream_id for row in covered] == database.left(R)
    assert 2 == len(counts)
    # An old SQLite takes 999.
    assert not database.is_sqlite or max(counts) < 1000


@pytest.mark.parametrize("device", ["\0", "\ud800", "D"])
def test_a_request_from_a_device_of_any_name_is_swept(
    database: Connection, device: str
) -> None:
    content = {"transaction_id": "T", "from_device": device}
    message = {"type": "m.key.verification.request", "sender": "@s:hs"}
    database.put_text(R, 1, json.dumps({**message, "content": content}))
    rules = Ruleset.of(Config(rules=ALL_RULES))
    sweep = Sweep(Database(database.run, database.driver), Options(rules=rules))
    driven(sweep.step())
    assert 1 == sweep.progress.total.notices


@pytest.mark.parametrize("odd", ['"' + "a" * 9_000, "\\" * 9_000, "\ud800" * 9_000])
def test_a_message_of_any_type_is_surveyed(database: Connection, odd: str) -> None:
    """Of a long row beginning and end are read, and the type may be cut."""
    message = {"content": {}, "type": odd, "sender": "@s:hs"}
    database.put_text(R, 1, json.dumps(message, separators=(",", ":")))
    survey = survey_of(database)
    while not survey.found.done:
        driven(survey.step())
    ((kind, sums),) = survey.end().inbox.kinds.most_frequent()
    assert kind == UNREADABLE or odd.startswith(kind.type)
    assert 1 == sums.rows


def survey_of(database: Connection) -> Survey:
    """Return a survey that has not begun, of a row at a time."""

    async def walk(statement: Any, *arguments: Any) -> Any:
        return statement(database, database.driver, *arguments)

    queues = SurveyDatabase(database.run, database.driver, walk)
    return Survey(queues, Options(batch_size=1, dry_run=True), 3)


def test_what_comes_meanwhile_goes_by_no_rule(database: Connection) -> None:
    """It is counted; the rules are told of what was there when the survey began."""
    survey = survey_of(database)
    for key, stream_id in ((R, 1), (R, 2), (Q, 3)):
        database.put_text(key, stream_id, notice())
    driven(survey.step())
    database.put_text(Q, 4, notice())
    while not survey.found.done:
        driven(survey.step())
    found = survey.end()
    assert (4, 1) == (found.inbox.kinds.total.rows, found.swept.total.redundant)


def test_two_processes_say_what_one_and_plain_counting_say(
    database: Connection,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real command, with users on both sides of the middle."""
    table = fill(database)
    hidden, gone = MAILBOXES[1], MAILBOXES[3::2]
    database.add_device(*MAILBOXES[::2])
    database.add_device(hidden, hidden=True)
    for server, stream_ids in (("b.test", [1]), ("ä.test", [1, 2, 2, 3])):
        database.put((f"@r:{server}", "R"), *stream_ids)
    middle = withheld_survey_middle(database)
    assert middle is not None
    assert min(table)[0] < middle <= max(table)[0]
    path = tmp_path / "homeserver.yaml"
    path.write_text(json.dumps({"database": database.section}))
    more = ["--json", "--batch-size", "7", "--pause", "0", "--limit", "3"]
    command = ["survey", "-c", str(path), *more]

    assert 0 == main(command)
    both = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(SurveyDatabase, "middle", nobody)
    assert 0 == main(command)
    assert both == json.loads(capsys.readouterr().out)

    inbox, outbox = both["inbox"], both["outbox"]
    assert counted(table, MAILBOXES).items() <= inbox.items()
    assert counted(table, [hidden]) == inbox["hidden"]
    assert counted(table, gone) == inbox["gone"]
    assert (5, 2) == (outbox["rows"], outbox["servers"])


def counted(table: Table, mailboxes: Collection[MailboxKey]) -> dict[str, int]:
    texts = [text for place, text in table.items() if place[:2] in mailboxes]
    size = sum(len(text.encode()) for text in texts)
    return {"mailboxes": len(mailboxes), "rows": len(texts), "bytes": size}


async def nobody(_: SurveyDatabase) -> None:
    """Return no user: there is one part."""
