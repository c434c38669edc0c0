"""The demonstration with servers that federate: its traffic and verdicts."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from tests.demo.__main__ import parse
from tests.demo.federation.checks import (
    Crossed,
    check,
    expected_rows,
    make_table,
)
from tests.demo.federation.reference import (
    PLACEMENTS,
    Placement,
    outbox,
)
from tests.demo.federation.traffic import (
    FRIEND,
    OTHER,
    RECIPIENT,
    make_crossing,
)
from tests.demo.traffic import AWAY, TABLET
from tests.harness.homeservers.federating import in_order
from tests.harness.homeservers.settings import extend

CROSSING = make_crossing()
NONE, SENDER, RECEIVER, BOTH = PLACEMENTS


def make_crossed(placement: Placement, **more: Any) -> Crossed:
    """Return what became of the messages if it was what the model says."""
    rows: dict[str, tuple[str, ...]] = {AWAY: (), TABLET: ()}
    for each in expected_rows(CROSSING, placement):
        for device, content in each.messages.items():
            message = {"content": content, "type": each.message_type}
            rows[device] += (json.dumps({**message, "sender": each.sender}),)
    waited = tuple(
        json.dumps(
            {
                "sender": each.sender,
                "type": each.message_type,
                "messages": {RECIPIENT: each.messages},
            }
        )
        for each in outbox(CROSSING.away, placement)
    )
    values: dict[str, Any] = {
        "waited": waited,
        "mailboxes": rows,
        "synced": rows[AWAY],
        "syncs": 1,
        "failed": 0,
        "failures": 0,
        "active": placement.sender + placement.receiver,
        **more,
    }
    return Crossed(placement, **values)


def failing(*changed: Crossed) -> list[str]:
    """Return the verdicts that are no praise, with some outcomes changed."""
    by_placement = {each: make_crossed(each) for each in PLACEMENTS}
    by_placement.update({each.placement: each for each in changed})
    checks = check(CROSSING, tuple(by_placement.values()))
    return [each.verdict for each in checks if not each.holds]


def test_more_waits_than_one_transaction_takes() -> None:
    """Synapse takes up to a hundred EDUs at once."""
    assert len(outbox(CROSSING.away, NONE)) > 100


def test_what_the_model_says_passes_every_check() -> None:
    """The checks find nothing where there is nothing."""
    assert failing() == []


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_edu_too_many_or_too_few_is_found(placement: Placement) -> None:
    """In any placement."""
    one = make_crossed(placement)
    for waited in (one.waited[1:], one.waited + one.waited[-1:]):
        [verdict] = failing(attrs.evolve(one, waited=waited))
        assert f"{placement.name}: EDUs: " in verdict


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_lost_or_changed_row_is_found(placement: Placement) -> None:
    """By the model, by the comparison with stock Synapse, and by the sync."""
    one = make_crossed(placement)
    rows = one.mailboxes[AWAY]
    last = rows[-1].replace(":", ": ")
    assert json.loads(rows[-1]) == {
        "content": {"number": 21},
        "type": OTHER,
        "sender": FRIEND,
    }
    lost = attrs.evolve(one, mailboxes={**one.mailboxes, AWAY: rows[:-1]})
    assert len(failing(lost)) == 3
    changed = attrs.evolve(one, mailboxes={**one.mailboxes, AWAY: (*rows[:-1], last)})
    [verdict] = failing(changed)
    assert "byte for byte" in verdict


def test_senders_may_overtake_each_other_but_not_themselves() -> None:
    """Synapse works on several EDUs of another server at a time."""
    one = make_crossed(BOTH)
    by_sender = sorted(one.mailboxes[AWAY], key=lambda text: json.loads(text)["sender"])
    rows = {**one.mailboxes, AWAY: tuple(by_sender)}
    assert failing(attrs.evolve(one, mailboxes=rows, synced=rows[AWAY])) == []
    rows[AWAY] = one.mailboxes[AWAY][::-1]
    assert len(failing(attrs.evolve(one, mailboxes=rows, synced=rows[AWAY]))) == 2


def test_failures_and_absence_of_the_module_are_found() -> None:
    """A module that does not act is no success."""
    verdicts = failing(
        make_crossed(SENDER, active=0),
        make_crossed(RECEIVER, failures=2),
        make_crossed(BOTH, failed=3),
    )
    requests, module = verdicts
    assert "{'none': 0, 'sender': 0, 'receiver': 0, 'both': 3}" in requests
    assert "sender: it acts on 0 of 1 servers" in module
    assert "receiver: it counts 2 failures" in module


def test_table_has_a_column_for_each_placement() -> None:
    """The module's failures are not counted where there is none."""
    table = make_table([make_crossed(each) for each in PLACEMENTS], markdown=True)
    header, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    )
    assert header == ["the module is on", "none", "sender", "receiver", "both"]
    assert lines[-1][1:] == ["–", "0", "0", "0"]  # noqa: RUF001 as shown


@pytest.mark.parametrize("other", ["--federation", "--requests"])
def test_one_thing_is_shown_at_a_time(
    other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes with Markdown; there is no one Synapse to keep."""
    assert parse([other, "--markdown"]).markdown
    with pytest.raises(SystemExit):
        parse([other, "--keep"])
    assert "not allowed with" in capsys.readouterr().err


def test_receiver_on_postgres_has_one_connection() -> None:
    """So messages are stored as they arrive; SQLite does so anyway."""
    database = {"name": "psycopg2", "args": {"dbname": "a", "cp_max": 10}}
    assert in_order(database) == {
        "name": "psycopg2",
        "args": {"dbname": "a", "cp_min": 1, "cp_max": 1},
    }
    assert in_order(None) is None


def test_more_configuration_adds_listeners_and_replaces_the_rest() -> None:
    """What is a list in the end was one before, or nothing."""
    config: dict[str, Any] = {"listeners": [1], "report_stats": False}
    extend(config, {"listeners": [2], "modules": [3], "report_stats": True})
    assert config == {"listeners": [1, 2], "modules": [3], "report_stats": True}
