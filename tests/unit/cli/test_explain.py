"""What `explain` says, by the module's own code."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.commands import explain
from synapse_withheld.cli.shared.explaining.explain import (
    Explainer,
    Explanation,
    ModuleFailedError,
)
from synapse_withheld.cli.shared.explaining.messages import (
    Message,
    NotUnderstoodError,
    read_json,
    understood,
)
from synapse_withheld.config import Config
from synapse_withheld.database.database import Database
from synapse_withheld.operators.wording import WHY
from synapse_withheld.rules import decision
from tests.harness.clients.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.unit.operators.test_metrics import table

SAMPLES = Path(__file__).parents[2] / "samples" / "no_olm.jsonl"
ALICE, BOB = "@alice:example.org", "@bob:example.org"
KEY, OTHER_KEY = make_key("alice"), make_key("alice again")


def line(content: Any, message_type: str = WITHHELD, **more: Any) -> str:
    """Return a line with a message of Alice."""
    return json.dumps({**make_message(ALICE, content, message_type), **more})


def notice(**more: Any) -> dict[str, Any]:
    """Return the content of a notice of Alice's phone."""
    return make_notice(more.pop("sender_key", KEY), "PHONE", **more)


def explained(*lines: str, **config: Any) -> list[Explanation]:
    """Explain lines, one after the other."""
    explainer = Explainer(Config(**config))
    return [
        each
        for number, text in enumerate(lines, start=1)
        for each in explainer.explain(number, understood(read_json(text)))
    ]


def reasons(*lines: str, **config: Any) -> list[str]:
    """Return what was decided and why, by its names."""
    return [f"{each.decision} {each.reason}" for each in explained(*lines, **config)]


def test_the_words_are_those_of_the_page() -> None:
    """Of every decision."""
    expected = [[each.action, each.reason, WHY[each]] for each in decision.ALL]
    assert expected == table("## Decisions")


def test_recorded_samples_are_explained_as_they_are() -> None:
    """New keys of one device supersede, repeated ones collapse."""
    found = explained(*SAMPLES.read_text().splitlines())
    by_decision = {
        name: [each.line for each in found if each.decision == name]
        for name in ("collapse", "supersede", "deliver")
    }
    assert by_decision == {
        "collapse": [11, 21, 23],
        "supersede": [2, 3, 4, 13, 14, 15],
        "deliver": [1, 5, 6, 7, 8, 9, 10, 12, 16, 17, 18, 19, 20, 22, 24, 25],
    }
    assert [each.earlier for each in found if each.line in {11, 21, 23}] == [10, 20, 22]


def test_a_repeated_notice_collapses_until_it_is_read() -> None:
    """What was read may be repeated."""
    lines = [line(notice()), line(notice()), '{"acknowledged": true}', line(notice())]
    found = explained(*lines)
    assert [each.reason for each in found] == [
        "first",
        "duplicate",
        "acknowledged",
        "read",
    ]
    assert found[2].why.endswith("1 message")
    assert [each.pair for each in found] == [1, 1, None, 1]


def test_an_olm_message_of_the_sender_rearms() -> None:
    """From the notice's key to its recipient."""
    olm = line(make_olm_lookalike(KEY, make_key("bob")), ENCRYPTED)
    found = explained(line(notice()), olm, line(notice()), line(notice()))
    assert [each.reason for each in found] == ["first", "olm", "rearmed", "duplicate"]
    assert found[1].why.endswith("re-arms 1 pair")


def test_an_olm_message_of_the_recipient_rearms() -> None:
    """From any device of the recipient to the notice's key."""
    content = make_olm_lookalike(make_key("bob"), KEY)
    answer = {**make_message(BOB, content, ENCRYPTED), "user_id": ALICE}
    to_bob = line(notice(), user_id=BOB)
    found = reasons(to_bob, json.dumps(answer), to_bob)
    assert found == ["deliver first", "pass olm", "supersede rearmed"]


def test_a_restart_forgets() -> None:
    """The first notice is stored at once, and what it repeats is found then."""
    explainer = Explainer(Config())
    lines = [line(notice()), '{"restarted": true}', line(notice()), line(notice())]
    found = [
        explainer.explain(number, understood(read_json(text)))[0].reason
        for number, text in enumerate(lines, start=1)
    ]
    assert found[2:] == ["first", "duplicate"]
    assert explainer.left == 1


def test_a_changed_device_may_be_another() -> None:
    """A row from before the change is superseded."""
    lines = [line(notice()), '{"device_changed": true}', line(notice())]
    assert reasons(*lines)[2] == "supersede device_changed"


def test_a_hold_ends_when_its_time_has_passed() -> None:
    """With `repeat: session` a notice that was read stands for later ones."""
    read, later = '{"acknowledged": true}', '{"hours_passed": %s}'
    lines = [line(notice()), read, later % 23, line(notice())]
    assert reasons(*lines, repeat="session")[3] == "collapse held"
    lines[2] = later % 25
    assert reasons(*lines, repeat="session")[3] == "deliver read"


def test_each_recipient_has_a_mailbox() -> None:
    """By user and device; without them all go to one."""
    to_bob = {"user_id": BOB, "device_id": "LAPTOP"}
    found = explained(
        line(notice()),
        line(notice(), **to_bob),
        line(notice(), **{**to_bob, "device_id": "TABLET"}),
        line(notice(), **to_bob),
        json.dumps({"acknowledged": True, **to_bob}),
        line(notice(), **to_bob),
        line(notice()),
    )
    assert [each.reason for each in found] == [
        "first",
        "first",
        "first",
        "duplicate",
        "acknowledged",
        "read",
        "duplicate",
    ]
    assert [each.pair for each in found] == [1, 2, 3, 2, None, 2, 1]


def test_a_wildcard_is_decided_for_each_device() -> None:
    """Of the devices that had notices before; of others it is found later."""
    lines = [line(notice(), device_id="D1"), line({}, "m.dummy", device_id="D2")]
    to_all, to_one = (line(notice(), device_id=each) for each in ("*", "D2"))
    found = reasons(*lines, to_all, to_one)
    assert found[2:] == ["supersede wildcard", "supersede repeated"]


def test_scopes_are_apart_if_the_configuration_says_so() -> None:
    """The module's own configuration counts."""
    lines = [line(notice(room_id=room, session_id="s")) for room in ("!a:b", "!c:d")]
    _, merged = explained(*lines)
    _, apart = explained(*lines, merge_scopes=False)
    assert [(each.reason, each.pair) for each in (merged, apart)] == [
        ("duplicate", 1),
        ("first", 2),
    ]


def test_what_is_no_notice_is_passed_on() -> None:
    """With its kind."""
    lines = [
        line({"code": "m.blacklisted"}),
        line(notice(algorithm="other")),
        line({"algorithm": "m.megolm.v1.aes-sha2"}, ENCRYPTED),
        line("no mapping", "m.room_key_request"),
    ]
    assert reasons(*lines) == [
        "pass m.blacklisted",
        "pass malformed",
        "pass other_type",
        "pass other_type",
    ]


def test_recordings_and_rows_of_the_table_are_messages_too() -> None:
    """As recorded, and as `row_to_json(device_inbox)` gives them."""
    message = make_message(ALICE, notice())
    expected = Message(BOB, "LAPTOP", message)
    to_bob = {"user_id": BOB, "device_id": "LAPTOP", "stream_id": 7}
    text = json.dumps({**message, "unsigned": {}})
    for more in (message, {"message": message}, {"message_json": text}):
        assert expected == understood(read_json(json.dumps({**to_bob, **more})))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "no 'sender'"),
        ('{"sender": "@a:b", "type": 1, "content": {}}', "no 'type'"),
        ('{"sender": "@a:b", "type": "t"}', "no 'content'"),
        ('{"message": []}', "message is not a JSON object"),
        ('{"message_json": "{"}', "'message_json' is not JSON"),
        ('{"message_json": {}}', "'message_json' is not JSON"),
        ('{"acknowledged": true, "user_id": 1}', "'user_id' is not a string"),
        ('{"acknowledged": true, "user_id": "\\ud800"}', "a database can hold"),
        ('{"hours_passed": "1"}', "'hours_passed' is no number"),
        ('{"hours_passed": -1}', "'hours_passed' is no number"),
    ],
)
def test_a_line_that_is_not_understood_is_told_why(text: str, why: str) -> None:
    """In words."""
    with pytest.raises(NotUnderstoodError, match=why):
        understood(read_json(text))


def test_a_failure_of_the_module_is_no_explanation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would say that the message is delivered."""

    def fail(*_: Any) -> Any:
        raise OSError

    monkeypatch.setattr(Database, "read_pages", fail)
    with pytest.raises(ModuleFailedError):
        explained(line(notice()))


def run(file: str, *settings: str, as_json: bool = False) -> int:
    """Run the command and return its exit code."""
    arguments = argparse.Namespace(file=file, set=list(settings), json=as_json)
    return explain.run(arguments)


def test_the_table_shows_neither_users_nor_devices_nor_whole_keys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It may be pasted into an issue."""
    assert run(str(SAMPLES)) == 0
    out = "".join(capsys.readouterr())
    samples = map(json.loads, SAMPLES.read_text().splitlines())
    keys = [each["message"]["content"]["sender_key"] for each in samples]
    assert all(key[:6] in out for key in keys)
    for secret in ("alice", "hs.test", "ALICE", *(key[:7] for key in keys)):
        assert secret not in out


def test_a_key_reaches_no_terminal_as_a_control_sequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Senders choose what they send."""
    path = tmp_path / "messages.jsonl"
    path.write_text(line(notice(sender_key="\x1b[2J\ud800é")))
    assert run(str(path)) == 0
    assert "?[2J??" in capsys.readouterr().out


def test_lines_that_are_not_understood_are_named_and_the_others_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code tells of them."""
    path = tmp_path / "messages.jsonl"
    happening = '{"restarted": true}'
    lines = [line(notice()), "", "nonsense", line(notice()), happening, ""]
    path.write_text("\n".join(lines))
    assert run(str(path), as_json=True) == 1
    out, err = capsys.readouterr()
    data = [json.loads(each) for each in out.splitlines()]
    assert [(each["line"], each["decision"]) for each in data] == [
        (1, "deliver"),
        (4, "collapse"),
        (5, "-"),
    ]
    assert err.splitlines() == [
        "Line 3 is not understood: it is not JSON",
        "1 collapse, 1 deliver; 1 queued.",
    ]


def test_a_dash_reads_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As other commands do."""
    monkeypatch.setattr("sys.stdin", io.StringIO(line(notice())))
    assert run("-", "max_pairs=1000") == 0
    assert "first" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["repeat"], "must be KEY=VALUE"),
        (["repeat=x"], "'repeat' must be queued or session"),
        (["mode=["], "'mode' must be enforce or observe"),
        (["rules.withheld=maybe"], "'rules.withheld' must be true or false"),
        (["rules.withhold=true"], "did you mean 'rules.withheld'"),
        (["rules=5"], "'rules' must be"),
        (["rules.no_olm.x=5"], "'rules.no_olm' must be true or false"),
        ([".=5"], "is no known key"),
        ([], "Cannot read"),
    ],
)
def test_what_cannot_be_done_is_said(
    settings: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error, with its own exit code."""
    assert run("/nowhere/messages.jsonl", *settings) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_keys_below_others_are_set_as_messages_write_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With dots; in any order with those above."""
    path = tmp_path / "messages.jsonl"
    content = notice(code="m.unverified", room_id="!r:hs", session_id="s")
    path.write_text(line(content))
    for settings in (["rules.withheld=true"], ["rules={}", "rules.withheld=true"]):
        assert run(str(path), *settings, as_json=True) == 0
        assert "withheld" == json.loads(capsys.readouterr().out)["rule"]


def _event(**more: Any) -> Any:
    return json.loads(line(notice(**more)))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "document",
    [
        [_event(), 5, _event(), _event(sender_key=OTHER_KEY)],
        {
            "next_batch": "s1",
            "to_device": {
                "events": [_event(), 5, _event(), _event(sender_key=OTHER_KEY)]
            },
        },
    ],
    ids=["array", "sync"],
)
@pytest.mark.parametrize("from_input", [True, False])
def test_what_synapse_answered_is_read_as_it_came(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    document: Any,
    mark: str,
    indent: int | None,
    from_input: bool,
) -> None:
    """On one line or on many, with a byte order mark or without; messages count."""
    text = mark + json.dumps(document, indent=indent) + "\n"
    path = tmp_path / "sync.json"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert run("-" if from_input else str(path), as_json=True) == 1
    out, err = capsys.readouterr()
    found = [json.loads(each) for each in out.splitlines()]
    assert [(1, "first"), (3, "duplicate"), (4, "new_key")] == [
        (each["line"], each["reason"]) for each in found
    ]
    assert "Line 2 is not understood: it is not a JSON object" in err


def test_an_answer_without_messages_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no mistake."""
    path = tmp_path / "sync.json"
    for text in ("[]", '{"next_batch": "s", "to_device": {"events": []}}', "", "\n"):
        path.write_text(text)
        assert run(str(path), as_json=True) == 0
        out, err = capsys.readouterr()
        assert ("", "No messages; 0 queued.\n") == (out, err)


def test_several_answers_are_read_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What shares a line shares its number."""
    path = tmp_path / "syncs.jsonl"
    lines = ["\ufeff" + json.dumps([_event(), _event()]), "", line(notice())]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert run(str(path), as_json=True) == 0
    out = capsys.readouterr().out.splitlines()
    assert [1, 1, 3] == [json.loads(each)["line"] for each in out]


def test_a_message_on_many_lines_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As tools print it."""
    path = tmp_path / "message.json"
    path.write_text(json.dumps(_event(), indent=4))
    assert run(str(path), as_json=True) == 0
    assert "first" == json.loads(capsys.readouterr().out)["reason"]
