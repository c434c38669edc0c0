"""What `explain` says, by the module's own code."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.explaining.explain import (
    Explainer,
    Explanation,
)
from synapse_withheld.cli.shared.explaining.messages import (
    Message,
    NotUnderstoodError,
    read_json,
    understood,
)
from synapse_withheld.config import Config
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)

SAMPLES = Path(__file__).parents[2] / "samples" / "no_olm.jsonl"
ALICE, BOB = "@alice:example.org", "@bob:example.org"
KEY, OTHER_KEY = make_key("alice"), make_key("alice again")

READ, RESTART = {"acknowledged": True}, {"restarted": True}
TO_BOB = {"user_id": BOB, "device_id": "LAPTOP"}


def line(
    content: Any, message_type: str = WITHHELD, sender: str = ALICE, **more: Any
) -> dict[str, Any]:
    return {**make_message(sender, content, message_type), **more}


def notice(**more: Any) -> dict[str, Any]:
    return make_notice(more.pop("sender_key", KEY), "PHONE", **more)


def explained(*lines: Any, **config: Any) -> list[Explanation]:
    explainer = Explainer(Config(**config))
    return [
        each
        for number, read in enumerate(lines, start=1)
        for each in explainer.explain(number, understood(read))
    ]


NOTICE = line(notice())
OF_ALICE = line(make_olm_lookalike(KEY, make_key("bob")), ENCRYPTED)


@pytest.mark.parametrize(
    ("lines", "config", "reasons"),
    [
        ([NOTICE, NOTICE, READ, NOTICE], {}, "first duplicate acknowledged read"),
        ([NOTICE, OF_ALICE, NOTICE, NOTICE], {}, "first olm rearmed duplicate"),
        # Stored at once, and what it repeats is found then.
        ([NOTICE, RESTART, NOTICE, NOTICE], {}, "first restarted first duplicate"),
        (
            [NOTICE, {"device_changed": True}, NOTICE],
            {},
            "first device_changed device_changed",
        ),
        *(
            (
                [NOTICE, READ, {"hours_passed": hours}, NOTICE],
                {"repeat": "session"},
                f"first acknowledged hours_passed {reason}",
            )
            for hours, reason in ((23, "held"), (25, "read"))
        ),
        # Each recipient has a mailbox: by user and device.
        (
            [
                NOTICE,
                {**NOTICE, **TO_BOB},
                {**NOTICE, **TO_BOB, "device_id": "TABLET"},
                {**READ, **TO_BOB},
                {**NOTICE, **TO_BOB},
                NOTICE,
            ],
            {},
            "first first first acknowledged read duplicate",
        ),
        # Of the devices that had notices before; of others it is found later.
        (
            [
                {**NOTICE, "device_id": "D1"},
                line({}, "m.dummy", device_id="D2"),
                {**NOTICE, "device_id": "*"},
                {**NOTICE, "device_id": "D2"},
            ],
            {},
            "first other_type wildcard repeated",
        ),
        (
            [
                line({"code": "m.blacklisted"}),
                line(notice(algorithm="other")),
                line("no mapping", "m.room_key_request"),
            ],
            {},
            "m.blacklisted malformed other_type",
        ),
    ],
)
def test_what_happens_has_its_reason(
    lines: list[Any], config: dict[str, Any], reasons: str
) -> None:
    """By the module's own code and configuration."""
    found = explained(*lines, **config)
    assert reasons.split() == [each.reason for each in found]


def test_recordings_and_rows_of_the_table_are_messages_too() -> None:
    """As recorded, and as `row_to_json(device_inbox)` gives them."""
    message = make_message(ALICE, notice())
    text = json.dumps({**message, "unsigned": {}})
    for more in (message, {"message": message}, {"message_json": text}):
        row = {**TO_BOB, "stream_id": 7, **more}
        assert Message(BOB, "LAPTOP", message) == understood(row)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "no 'sender'"),
        ('{"sender": "@a:b", "type": 1, "content": {}}', "no 'type'"),
        ('{"sender": "@a:b", "type": "t"}', "no 'content'"),
        ('{"message": []}', "message is not a JSON object"),
        ('{"message_json": "{"}', "'message_json' is not JSON"),
        ('{"acknowledged": true, "user_id": 1}', "'user_id' is not a string"),
        ('{"acknowledged": true, "user_id": "\\ud800"}', "a database can hold"),
        ('{"hours_passed": "1"}', "'hours_passed' is no number"),
    ],
)
def test_a_line_that_is_not_understood_is_told_why(text: str, why: str) -> None:
    with pytest.raises(NotUnderstoodError, match=why):
        understood(read_json(text))


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what runs the command on a text: exit code, output and errors."""

    def run(text: str, *arguments: str) -> tuple[int, str, str]:
        path = tmp_path / "messages.jsonl"
        path.write_text(text, encoding="utf-8")
        return main(["explain", str(path), *arguments]), *capsys.readouterr()

    return run


def test_the_table_shows_neither_users_nor_devices_nor_whole_keys(
    explain: Any,
) -> None:
    code, *said = explain(SAMPLES.read_text())
    out = "".join(said)
    samples = map(json.loads, SAMPLES.read_text().splitlines())
    keys = [each["message"]["content"]["sender_key"] for each in samples]
    assert 0 == code
    assert all(key[:6] in out for key in keys)
    for secret in ("alice", "hs.test", "ALICE", *(key[:7] for key in keys)):
        assert secret not in out


def test_a_key_reaches_no_terminal_as_a_control_sequence(explain: Any) -> None:
    _, out, _ = explain(json.dumps(line(notice(sender_key="\x1b[2J\ud800é"))))
    assert "?[2J??" in out


def test_lines_that_are_not_understood_are_named_and_the_others_explained(
    explain: Any,
) -> None:
    text = json.dumps(NOTICE)
    lines = [text, "", "nonsense", text, json.dumps(RESTART), ""]
    code, out, err = explain("\n".join(lines), "--json")
    data = [json.loads(each) for each in out.splitlines()]
    assert [(1, "deliver"), (4, "collapse"), (5, "-")] == [
        (each["line"], each["decision"]) for each in data
    ]
    assert (1, "Line 3 is not understood: it is not JSON") == (code, err.split("\n")[0])
    assert "1 collapse, 1 deliver; 1 queued." == err.splitlines()[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["repeat"], "must be KEY=VALUE"),
        (["repeat=x"], "'repeat' must be queued or session"),
        (["rules.withhold=true"], "did you mean 'rules.withheld'"),
        (["rules.no_olm.x=5"], "'rules.no_olm' must be true or false"),
        ([".=5"], "is no known key"),
        ([], "Cannot read"),
    ],
)
def test_what_cannot_be_done_is_said(
    settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with its own exit code."""
    arguments = [f"--set={each}" for each in settings]
    assert 2 == main(["explain", "/nowhere/messages.jsonl", *arguments])
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_keys_below_others_are_set_as_messages_write_them(explain: Any) -> None:
    content = notice(code="m.unverified", room_id="!r:hs", session_id="s")
    settings = ("--set=rules={}", "--set=rules.withheld=true")
    code, out, _ = explain(json.dumps(line(content)), "--json", *settings)
    assert (0, "withheld") == (code, json.loads(out)["rule"])


EVENTS = [NOTICE, 5, NOTICE, line(notice(sender_key=OTHER_KEY))]


@pytest.mark.parametrize("document", [EVENTS, {"to_device": {"events": EVENTS}}])
def test_what_synapse_answered_is_read_as_it_came(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    document: Any,
) -> None:
    """On many lines, with a byte order mark; messages count."""
    text = "\ufeff" + json.dumps(document, indent=2) + "\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    code, out, err = main(["explain", "-", "--json"]), *capsys.readouterr()
    found = [json.loads(each) for each in out.splitlines()]
    assert [(1, "first"), (3, "duplicate"), (4, "new_key")] == [
        (each["line"], each["reason"]) for each in found
    ]
    assert 1 == code
    assert "Line 2 is not understood: it is not a JSON object" in err


def test_a_file_may_have_several_answers_or_none(explain: Any) -> None:
    text = f"{json.dumps([NOTICE, NOTICE])}\n\n{json.dumps(NOTICE)}"
    _, out, _ = explain(text, "--json")
    assert [1, 1, 3] == [json.loads(each)["line"] for each in out.splitlines()]
    assert (0, "", "No messages; 0 queued.\n") == explain("[]", "--json")
