"""What `explain` says, by the module's own code."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness.messages import WITHHELD, make_key, make_message, make_notice
from tests.unit.cli.conftest import Run

SAMPLES = Path(__file__).parents[2] / "samples" / "no_olm.jsonl"
AFTER_23_HOURS = {"hours_passed": 23}
ALICE, BOB = "@alice:example.org", "@bob:example.org"
READ, RESTART, CHANGED = (
    {name: True} for name in ("acknowledged", "restarted", "device_changed")
)


def line(content: Any, message_type: str = WITHHELD, **more: Any) -> dict[str, Any]:
    return {**make_message(ALICE, content, message_type), **more}


def notice(sender_key: str = make_key("alice"), **more: Any) -> dict[str, Any]:
    return line(make_notice(sender_key, "PHONE", **more))


NOTICE = notice()


def at(device_id: str, what: Any = NOTICE) -> dict[str, Any]:
    return {**what, "user_id": BOB, "device_id": device_id}


ROW = {"message_json": json.dumps({**NOTICE, "unsigned": {}}), "stream_id": 7}
WITH_CODE = notice(code="m.unverified", room_id="!r:hs", session_id="s")
# Below others keys are set as messages write them.
SESSION = ("repeat=session", "rules.withheld=true", "rules.key_requests=true")


@pytest.mark.parametrize(
    ("lines", "settings", "reasons"),
    [
        # Stored at once, and what it repeats is found then.
        ([NOTICE, RESTART, NOTICE, NOTICE], (), "first restarted first duplicate"),
        ([NOTICE, CHANGED, NOTICE], (), "first device_changed device_changed"),
        # Each recipient has a mailbox: by user and device.
        (
            [NOTICE, at("D1"), at("D2"), at("D1", READ), at("D1"), NOTICE],
            (),
            "first first first acknowledged read duplicate",
        ),
        # Of the devices that had notices before; of others it is found later.
        (
            [at("D1"), at("D2", line({}, "m.dummy")), at("*"), at("D2")],
            (),
            "first other_type wildcard repeated",
        ),
        (
            [WITH_CODE, NOTICE, READ, AFTER_23_HOURS, NOTICE, AFTER_23_HOURS, NOTICE],
            SESSION,
            "first first acknowledged hours_passed held hours_passed read",
        ),
        # As recorded, and as `row_to_json(device_inbox)` gives them.
        (
            [at("D", NOTICE), at("D", {"message": NOTICE}), at("D", ROW), NOTICE],
            (),
            "first duplicate duplicate first",
        ),
    ],
)
def test_what_happens_has_its_reason(
    run: Run, lines: list[Any], settings: tuple[str, ...], reasons: str
) -> None:
    """By the module's own code; `docs/command-line.md` shows the rest."""
    answer = run("explain", lines, "--json", *(f"--set={each}" for each in settings))
    assert (0, reasons.split()) == (answer.code, answer.told("reason"))


NOT_UNDERSTOOD = {
    "[" * 100_000: "it is not a JSON object",
    '{"sender": "@a:b", "type": 1, "content": {}}': "it has no 'type'",
    '{"sender": "@a:b", "type": "t"}': "it has no 'content'",
    '{"message_json": "{"}': "its message is not a JSON object",
    '{"acknowledged": true, "user_id": "\\ud800"}': "its 'user_id' is not a string",
    '{"hours_passed": "1"}': "its 'hours_passed' is no number",
    '{"hours_passed": -1}': "its 'hours_passed' is no number from 0",
    '{"hours_passed": Infinity}': "its 'hours_passed' is no number from 0",
}


def test_lines_that_are_not_understood_are_named(run: Run) -> None:
    """The others are explained; several may share a line, as in a `/sync` each."""
    lines = [[NOTICE, NOTICE], "", NOTICE, RESTART]
    answer = run("explain", [*lines, *NOT_UNDERSTOOD], "--json")
    expected = [(1, "deliver"), (1, "collapse"), (3, "collapse"), (4, "-")]
    assert (1, expected) == (answer.code, answer.told("line", "decision"))
    *problems, counts = answer.err.splitlines()
    assert "2 collapse, 1 deliver; 1 queued." == counts
    for number, (problem, says) in enumerate(zip(problems, NOT_UNDERSTOOD.values()), 5):
        assert problem.startswith(f"Line {number} is not understood: {says}")
    assert len(NOT_UNDERSTOOD) == len(problems)
    assert (0, "", "No messages; 0 queued.\n") == run("explain", ["[]"], "--json")


def test_the_table_shows_neither_users_nor_devices_nor_whole_keys(run: Run) -> None:
    """And no key reaches a terminal as a control sequence."""
    code, *said = run("explain", str(SAMPLES))
    out = "".join(said)
    samples = map(json.loads, SAMPLES.read_text().splitlines())
    keys = [each["message"]["content"]["sender_key"] for each in samples]
    assert 0 == code
    assert all(key[:6] in out for key in keys)
    for secret in ("alice", "hs.test", "ALICE", *(key[:7] for key in keys)):
        assert secret not in out
    assert "  \ufffd[2J\ufffdé  " in run("explain", [notice("\x1b[2J\ud800é")]).out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("repeat", "must be KEY=VALUE"),
        ("repeat=[", "'repeat' must be queued or session"),
        ("rules.withhold=true", "did you mean 'rules.withheld'"),
        ("mode=observe", "Cannot read /nowhere/messages.jsonl"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, setting: str, message: str) -> None:
    said = run("explain", "/nowhere/messages.jsonl", f"--set={setting}").refusal
    assert message in said


EVENTS = [NOTICE, 5, NOTICE, notice(make_key("alice again"))]


@pytest.mark.parametrize("document", [EVENTS, {"to_device": {"events": EVENTS}}])
def test_what_synapse_answered_is_read_as_it_came(
    run: Run, monkeypatch: pytest.MonkeyPatch, document: Any
) -> None:
    """On many lines, with a byte order mark; messages count."""
    text = "\ufeff" + json.dumps(document, indent=2) + "\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    answer = run("explain", "-", "--json")
    expected = [(1, "first"), (3, "duplicate"), (4, "new_key")]
    assert (1, expected) == (answer.code, answer.told("line", "reason"))
    assert "Line 2 is not understood: it is not a JSON object" in answer.err
