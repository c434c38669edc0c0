"""The walks of the sweep and of the survey read all there is, on both databases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.database.backlog import withheld_read_backlog
from synapse_withheld.database.sql import ABOVE_ALL, MOST_OF_ROW
from synapse_withheld.database.survey import (
    END,
    WHOLE,
    SurveyDatabase,
    withheld_survey_inbox,
    withheld_survey_middle,
    withheld_survey_outbox,
)
from synapse_withheld.sweep.survey import Survey
from synapse_withheld.sweep.walk import Options
from tests.harness.backlog import notice
from tests.store.conftest import REMOTE, Connection, Q, R


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


def test_what_comes_meanwhile_goes_by_no_rule(database: Connection) -> None:
    """It is counted; the rules are told of what was there when the survey began."""

    async def walk(statement: Any, *arguments: Any) -> Any:
        return statement(database, database.driver, *arguments)

    queues = SurveyDatabase(database.run, database.driver, walk)
    survey = Survey(queues, Options(batch_size=1, dry_run=True), 3)
    for key, *stream_ids in ((R, 1, 2), (Q, 3)):
        database.put(key, *stream_ids, text=notice())
    driven(survey.step())
    database.put(Q, 4, text=notice())
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
    users = [f"@ü{number}:hs" for number in range(4)]
    # Each has a hidden device, one that is there and one that is gone.
    rows = {"mailboxes": 4, "rows": 40, "bytes": 40 * len(notice())}
    for user in users:
        database.add("devices", (user, "A", False), (user, "B", True))
        for device in "ABC":
            database.put((user, device), *range(1, 11), text=notice())
    database.put(("@r:b.test", "R"), 1)
    database.put(("@r:ä.test", "R"), 1, 2, 2, 3)
    assert withheld_survey_middle(database) == users[2]
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
    everything = {name: 3 * count for name, count in rows.items()}
    assert everything.items() <= inbox.items()
    assert (rows, rows) == (inbox["hidden"], inbox["gone"])
    assert (5, 2) == (outbox["rows"], outbox["servers"])


async def nobody(_: SurveyDatabase) -> None:
    """Return no user: there is one part."""
