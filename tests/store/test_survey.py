"""The survey on both databases: what it reads, and that it changes nothing."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import attrs
import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.survey import (
    END,
    WHOLE,
    SurveyDatabase,
    withheld_survey_inbox,
    withheld_survey_middle,
    withheld_survey_outbox,
)
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.inventory import Sums
from synapse_withheld.sweep.kinds import Kind
from synapse_withheld.sweep.survey import ALL_RULES, Orphans, Survey, Surveyed
from synapse_withheld.sweep.walk import Options, Sweep
from tests.harness.backlog import Table, notice, other, text_of
from tests.harness.messages import WITHHELD, make_notice
from tests.store.conftest import Connection, stored
from tests.store.test_statements import Q, R, add_device, add_task
from tests.store.test_sweep import backlog_of, fill, finish, left

NOW_TS = 1_700_000_000_000


def survey_of(
    database: Connection,
    batch_size: int = 7,
    *,
    merge_scopes: bool = True,
    **part: Any,
) -> Survey:
    """Return a survey that has not begun."""

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(database, *arguments)

    async def walk(statement: Callable[..., Any], *arguments: Any) -> Any:
        return statement(database, database.driver, *arguments)

    config = Config(rules=ALL_RULES, merge_scopes=merge_scopes)
    options = Options(batch_size, Ruleset.of(config), dry_run=True, now_ts=NOW_TS)
    rows = SurveyDatabase(run, database.driver, walk)
    return Survey(rows, options, 3, **part)


def finished(survey: Survey) -> Surveyed:
    """Survey to the end; return what was found."""
    while not survey.found.done:
        driven(survey.step())
    return survey.end()


def add_edu(database: Connection, server: str, stream_id: int, text: str) -> None:
    """Queue an EDU."""
    sql = "INSERT INTO device_federation_outbox VALUES (?, ?, 0, ?, NULL)"
    database.execute(sql, (server, stream_id, text))


ASKED = {"requesting_device_id": "D", "request_id": "1", "action": "request"}
TAKEN_BACK = {**ASKED, "action": "request_cancellation"}
VERIFIED = {"transaction_id": "t", "from_device": "D", "timestamp": NOW_TS // 2}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("m.room_key_request", ASKED),
    ("m.room_key_request", TAKEN_BACK),
    ("m.secret.request", ASKED),
    ("m.secret.request", TAKEN_BACK),
    ("m.key.verification.request", VERIFIED),
    ("m.key.verification.cancel", VERIFIED),
]
# What every rule names, and what none does.
TEXTS = [
    other(),
    *(notice(key, "DEV", room_id=room) for key in "kl" for room in (None, "!r:hs")),
    *(
        notice("k", "DEV", code=code, room_id="!r:hs", session_id="s")
        for code in ("m.unavailable", "made.up")
    ),
    *(text_of("@s:hs", kind, content) for kind, content in REQUESTS),
]


def mixed_table(rows: int) -> Table:
    """Return mailboxes with all of it, the same each time."""
    chance = random.Random(11)  # noqa: S311 it decides nothing secret
    mailboxes = [(f"@ü{user}:hs", f"D{device}") for user in range(4) for device in "AB"]
    return {
        (*chance.choice(mailboxes), number): chance.choice(TEXTS)
        for number in range(1, rows + 1)
    }


def test_each_rule_removes_what_a_sweep_with_it_alone_deletes(
    database: Connection,
) -> None:
    """Whether it is on or not; and the survey itself changes nothing."""
    table = mixed_table(400)
    fill(database, table)
    for key in {place[:2] for place in table}:
        add_device(database, key)
    doomed = next(iter(table))[:2]
    add_task(database, doomed, 1)
    for merge_scopes in (True, False):
        rules = finished(survey_of(database, merge_scopes=merge_scopes)).swept.rules
        assert set(table) == left(database)
        for name in attrs.asdict(ALL_RULES):
            only = RulesConfig(
                **{**dict.fromkeys(attrs.asdict(ALL_RULES), False), name: True}
            )
            config = Config(merge_scopes=merge_scopes, rules=only)
            sweep = Sweep(
                backlog_of(database), Options(50, Ruleset.of(config), now_ts=NOW_TS)
            )
            finish(sweep)
            done = sweep.progress.rules[name]
            assert 0 < done.deleted == len(table) - len(left(database))
            assert rules[name] == attrs.evolve(done, deleted=0)
            database.execute("DELETE FROM device_inbox")
            fill(database, table)


def test_rows_are_counted_as_plainly(database: Connection) -> None:
    """By type and code, in bytes, and however many a batch has."""
    table = mixed_table(150)
    fill(database, table)
    rows: Counter[Kind] = Counter()
    sizes: Counter[Kind] = Counter()
    for text in table.values():
        message = json.loads(text)
        kind = Kind(message["type"])
        if kind.type == WITHHELD:
            code = message["content"]["code"]
            code = {"made.up": "other"}.get(code, code)
            kind = kind._replace(code=code)
        rows[kind] += 1
        sizes[kind] += len(text.encode())
    for batch_size in (1, 10, 1000):
        survey = finished(survey_of(database, batch_size))
        found = survey.inbox.kinds.sums
        assert {kind: Sums(rows[kind], sizes[kind]) for kind in rows} == found
        assert len({place[:2] for place in table}) == survey.inbox.names
        assert len(table) == survey.inbox.kinds.total.rows
        longest = Counter(place[:2] for place in table).most_common(3)
        assert [n for _, n in longest] == [each.rows for each in survey.inbox.longest]


def test_rows_of_devices_that_are_gone_or_hidden_are_counted(
    database: Connection,
) -> None:
    """Each mailbox once, wherever a batch ends."""
    table = {(*key, n): other() for key in (Q, R, ("@p:hs", "P")) for n in range(1, 6)}
    fill(database, table)
    add_device(database, Q)
    add_device(database, R, hidden=True)
    size = 5 * len(other())
    for batch_size in (1, 2, 5, 1000):
        survey = finished(survey_of(database, batch_size))
        assert Orphans(1, Sums(5, size)) == survey.gone
        assert Orphans(1, Sums(5, size)) == survey.hidden


def test_outboxes_are_counted_by_server(database: Connection) -> None:
    """An EDU is a row, whatever is in it; places that are shared are seen once."""
    edu = {"sender": "@s:hs", "type": WITHHELD, "message_id": "i"}
    messages = {"messages": {"@u:a": {"D": make_notice("k", "D")}}}
    text = json.dumps({**edu, **messages})
    for stream_id in (1, 2, 2, 3):
        add_edu(database, "ä.test", stream_id, text)
    add_edu(database, "b.test", 4, json.dumps({**messages, **edu, "type": "m.dummy"}))
    for batch_size in (1, 2, 3, 1000):
        survey = finished(survey_of(database, batch_size))
        sums = survey.outbox.kinds.sums
        assert Sums(4, 4 * len(text)) == sums[Kind(WITHHELD, "m.no_olm")]
        assert 1 == sums[Kind("m.dummy")].rows
        assert [(("ä.test",), 4), (("b.test",), 1)] == [
            (each.name, each.rows) for each in survey.outbox.longest
        ]
        assert 5 == survey.outbox.kinds.total.rows


def test_of_long_texts_both_ends_are_read(database: Connection) -> None:
    """So that memory stays bounded, and the type is known all the same."""
    fits = "x" * (WHOLE - 2) + "é"
    longer = "é" + "x" * WHOLE
    fill(database, {(*R, 2): fits, (*R, 1): longer})
    first, second = withheld_survey_inbox(database, database.driver, None, 9)
    assert (*R, 2, fits, WHOLE) == first
    assert (*R, 1, f"{longer[:END]}\n{longer[-END:]}", WHOLE + 2) == second
    add_edu(database, "a", 1, longer)
    (edu,) = withheld_survey_outbox(database, database.driver, None, 9)
    assert ("a", 1, *second[3:]) == edu
    long = text_of("@s:hs", "m.room.encrypted", {"body": longer})
    fill(database, {(*R, 3): long})
    kinds = finished(survey_of(database)).inbox.kinds.sums
    assert Sums(1, len(long)) == kinds[Kind("m.room.encrypted")]


def said_by(command: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; return what it prints."""
    assert 0 == main(command)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_two_processes_say_what_one_says(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """The real command, with users on both sides of the middle."""
    with stored(kind, request, tmp_path) as (database, section):
        table = mixed_table(400)
        fill(database, table)
        for key in {place[:2] for place in table if place[1] == "DA"}:
            add_device(database, key)
        middle = withheld_survey_middle(database)
        assert middle is not None
        assert min(table)[0] < middle <= max(table)[0]
        for server in ("a.test", "b.test"):
            add_edu(database, server, 1, other())
        path = tmp_path / "homeserver.yaml"
        path.write_text(json.dumps({"database": section}))
        more = ["--json", "--batch-size", "7", "--pause", "0", "--limit", "3"]
        command = ["survey", "-c", str(path), *more]
        both = said_by(command, capsys)
        monkeypatch.setattr(SurveyDatabase, "middle", nobody)
        assert said_by(command, capsys) == both
        assert (400, 2) == (both["inbox"]["rows"], both["outbox"]["rows"])


async def nobody(_: SurveyDatabase) -> None:
    """Return no user: there is one part."""


def test_what_comes_meanwhile_goes_by_no_rule(database: Connection) -> None:
    """It is counted; the rules are told of what was there when the survey began."""
    fill(database, dict.fromkeys([(*R, 1), (*R, 2), (*Q, 3)], notice()))
    survey = survey_of(database, 1)
    driven(survey.step())
    fill(database, {(*Q, 4): notice()})
    found = finished(survey)
    assert (4, 1) == (found.inbox.kinds.total.rows, found.swept.total.redundant)
