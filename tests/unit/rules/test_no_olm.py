"""Recognising notices that there is no Olm session."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import code_of
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.no_olm import SCOPED, WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice

STABLE = "m.room_key.withheld"
OLDER = "org.matrix.room_key.withheld"
SAMPLES = Path(__file__).parents[2] / "samples" / "no_olm.jsonl"


def content(**overrides: Any) -> dict[str, Any]:
    """Return the content of a notice in the specification's form."""
    notice = {"algorithm": "m.megolm.v1.aes-sha2", "code": "m.no_olm"}
    return {**notice, "sender_key": "K" * 43, **overrides}


def read(contents: object, *, merge_scopes: bool = True) -> tuple[str, Notice | None]:
    """Read a withheld message of the stable type from one sender."""
    found = NoOlm(merge_scopes).read("@s:hs", STABLE, contents)
    return code_of(contents), found


def notice(contents: object, *, merge_scopes: bool = True) -> Notice:
    """Read what has to be a notice."""
    found = read(contents, merge_scopes=merge_scopes)[1]
    assert found is not None
    return found


def test_every_recorded_message_is_a_notice() -> None:
    """What real clients sent is recognised, with its sender device."""
    recorded = [
        json.loads(line)["message"] for line in SAMPLES.read_text().splitlines()
    ]

    devices = []
    for message in recorded:
        found = NoOlm().read(message["sender"], message["type"], message["content"])
        assert code_of(message["content"]) == "m.no_olm"
        assert found is not None
        devices.append(found.pair.device)

    expected = [
        f"device:{message['content']['from_device']}"
        if "from_device" in message["content"]
        else f"key:{message['content']['sender_key']}"
        for message in recorded
    ]
    assert expected == devices
    assert len(recorded) == 25


def test_what_only_tells_copies_apart_makes_no_difference() -> None:
    """Copies differ in `org.matrix.msgid` and `reason`."""
    one = notice(content(reason="a", **{"org.matrix.msgid": "1"}))
    other = notice(content(reason="b", **{"org.matrix.msgid": "2"}))

    assert one == other


def test_a_device_id_that_looks_like_a_key_is_not_one() -> None:
    """Finding 7: the two kinds of identity never meet."""
    by_key = notice(content())
    by_device = notice(content(from_device="K" * 43))

    assert by_key.pair != by_device.pair


def test_the_types_never_stand_for_each_other() -> None:
    """Some senders send both, for recipients that understand one."""
    pairs = {
        found.pair
        for message_type in (STABLE, OLDER)
        if (found := NoOlm().read("@s:hs", message_type, content()))
    }

    assert len(pairs) == 2


def test_a_pair_is_of_the_sender_that_synapse_names() -> None:
    """Nobody collapses somebody else's notices."""
    one, other = (
        NoOlm().read(sender, STABLE, content()) for sender in ("@s:hs", "@t:hs")
    )

    assert one is not None
    assert other is not None
    assert ("@s:hs", "@t:hs") == (one.pair.sender, other.pair.sender)
    assert one.pair != other.pair


@pytest.mark.parametrize(
    ("named", "scoped"),
    [({}, False), ({"room_id": "!r"}, True), ({"session_id": "1"}, True)],
)
def test_a_room_alone_is_a_scope_and_so_is_a_session_alone(
    named: dict[str, str], scoped: bool
) -> None:
    """The specification's form names neither."""
    assert (SCOPED if scoped else WHOLE) == notice(content(**named)).variant


@pytest.mark.parametrize("merge_scopes", [True, False])
def test_scope_is_part_of_the_pair_only_where_scopes_are_kept_apart(
    merge_scopes: bool,
) -> None:
    """`merge_scopes` decides."""
    one = notice(content(room_id="!r", session_id="1"), merge_scopes=merge_scopes)
    other = notice(content(room_id="!r", session_id="2"), merge_scopes=merge_scopes)

    assert merge_scopes == (one.pair == other.pair)
    assert SCOPED == one.variant == other.variant


@pytest.mark.parametrize(
    ("contents", "code"),
    [
        (content(code="m.blacklisted"), "m.blacklisted"),
        (content(code="m.unverified"), "m.unverified"),
        (content(code="m.unauthorised"), "m.unauthorised"),
        (content(code="m.unavailable"), "m.unavailable"),
        (content(code="m.history_not_shared"), "m.history_not_shared"),
        ({"code": "m.history_not_shared"}, "m.history_not_shared"),
        (content(code="com.example.secret"), "other"),
        (content(code=None), "malformed"),
        (content(code=["m.no_olm"]), "malformed"),
        ({}, "malformed"),
        ("m.no_olm", "malformed"),
        (None, "malformed"),
        (content(algorithm="m.megolm.v2"), "malformed"),
        (content(algorithm=None), "malformed"),
        (content(algorithm=["m.megolm.v1.aes-sha2"]), "malformed"),
        (content(sender_key=None), "malformed"),
        (content(sender_key=7), "malformed"),
        (content(sender_key=""), "malformed"),
        (content(sender_key="K" * 65), "malformed"),
        (content(from_device=7), "malformed"),
        (content(from_device=""), "malformed"),
        (content(from_device="D" * 256), "malformed"),
        (content(room_id={}), "malformed"),
        (content(session_id="S" * 256), "malformed"),
    ],
)
def test_what_is_no_notice_is_named_and_left_alone(contents: object, code: str) -> None:
    """Other codes and malformed messages are counted only."""
    assert (code, None) == read(contents)


def test_null_says_the_same_as_a_missing_key() -> None:
    """Some senders write what they have not as null."""
    assert notice(content()) == notice(
        content(from_device=None, room_id=None, session_id=None)
    )


def test_the_longest_real_identifiers_are_accepted() -> None:
    """The bounds themselves are inside."""
    found = notice(content(sender_key="K" * 64, from_device="D" * 255))

    assert found.key == "K" * 64


@pytest.mark.parametrize(
    ("queued", "later", "expected"),
    [
        ({}, {}, None),
        ({"room_id": "!r"}, {"room_id": "!r"}, None),
        ({"room_id": "!r"}, {"room_id": "!s"}, None),
        ({}, {"room_id": "!r"}, None),
        ({"room_id": "!r"}, {}, decision.SCOPE),
        ({}, {"sender_key": "other"}, decision.NEW_KEY),
        ({"room_id": "!r"}, {"sender_key": "other"}, decision.NEW_KEY),
        (
            {"room_id": "!r"},
            {"sender_key": "other", "room_id": "!r"},
            decision.NEW_KEY,
        ),
        ({}, {"sender_key": "other", "room_id": "!r"}, decision.NOT_REPEATED),
    ],
)
def test_what_a_notice_says_that_the_queued_one_does_not(
    queued: dict[str, str], later: dict[str, str], expected: Decision | None
) -> None:
    """Where nothing, it was found in the database: else it would collapse."""
    one, other = (
        notice(content(**{"from_device": "D", **more})) for more in (queued, later)
    )

    assert (expected is None) == NoOlm().says_as_much(one, other)
    assert (expected or decision.REPEATED) == NoOlm().why_stored(one, other)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
contents_of_all_kinds = st.dictionaries(
    st.sampled_from(["algorithm", "code", "sender_key", "from_device", "ciphertext"]),
    anything | st.sampled_from(["m.no_olm", "m.megolm.v1.aes-sha2", "m.olm.v1"]),
)


@given(anything | contents_of_all_kinds, st.booleans())
def test_no_content_raises(contents: object, merge_scopes: bool) -> None:
    """Recognition takes whatever JSON can hold."""
    read(contents, merge_scopes=merge_scopes)
