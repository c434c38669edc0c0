"""What senders put into messages is read, whatever that is, and which rules name it.

What a newer message does to a queued one is told in `tests/unit/memory/test_belief.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.config import Config
from synapse_withheld.rules.content import (
    SESSION_CODES,
    TRACING,
    code_of,
    read_olm,
    without_tracing,
)
from synapse_withheld.rules.identifiers import (
    MAX_NAME_LENGTH,
    is_from,
    is_storable,
    may_exist,
    server_of,
)
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.withheld import SCOPED, WHOLE
from tests.harness.messages import MEGOLM, OLDER_WITHHELD, WITHHELD
from tests.harness.rules import EVERY_RULE

RULES = Ruleset.of(Config(rules=EVERY_RULE))
NOTICE = {"algorithm": MEGOLM, "code": "m.no_olm", "sender_key": "K" * 43}
NAMED = {"from_device": "S", "room_id": "!room:hs", "session_id": "session"}
OF_SESSION = {**NOTICE, **NAMED, "code": "m.unverified"}


def read(
    content: Any,
    message_type: str = WITHHELD,
    sender: str = "@s:hs",
    rules: Ruleset = RULES,
    **changed: Any,
) -> Notice | None:
    return rules.read(
        sender, message_type, {**content, **changed} if changed else content
    )


@pytest.mark.parametrize(
    ("contents", "code"),
    [
        (NOTICE, "m.no_olm"),
        *(({**NOTICE, "code": code}, code) for code in SESSION_CODES),
        ({"code": "m.history_not_shared"}, "m.history_not_shared"),
        ({**NOTICE, "code": "com.example.secret"}, "other"),
        ({}, "malformed"),
        ("m.no_olm", "malformed"),
        (None, "malformed"),
    ],
)
def test_a_code_is_named_as_metrics_name_it(contents: object, code: str) -> None:
    """Without a session only a well-formed one of `m.no_olm` is a notice."""
    assert code == code_of(contents)
    assert (code == "m.no_olm") == (read(contents) is not None)


# Python 3.12 and newer go down some ten thousand levels.
deep: dict[str, Any] = {}
for _ in range(100_000):
    deep = {"deeper": deep}

KEY, SECRET = "m.room_key_request", "m.secret.request"
VERIFY = "m.key.verification.request"
ASKED = {"action": "request", "requesting_device_id": "S", "request_id": "1"}
VERIFIED = {"transaction_id": "1"}
NO_CONTENTS: list[Any] = [{}, [], None]
ODD: list[Any] = [None, 7, "", "D" * 256, ["request"]]


@pytest.mark.parametrize(
    ("message_type", "well_formed", "name", "values"),
    [
        (WITHHELD, NOTICE, "code", [None, ["m.no_olm"]]),
        (WITHHELD, NOTICE, "algorithm", [None, "m.megolm.v2", [MEGOLM]]),
        (WITHHELD, NOTICE, "sender_key", [None, 7, "", "K" * 65]),
        (WITHHELD, NOTICE, "from_device", [7, "", "D" * 256]),
        (WITHHELD, NOTICE, "room_id", [{}]),
        (WITHHELD, NOTICE, "session_id", ["S" * 256]),
        (WITHHELD, OF_SESSION, "code", ["", "c" * 256, ["m.unverified"], None]),
        (WITHHELD, OF_SESSION, "room_id", [None]),
        (WITHHELD, OF_SESSION, "session_id", [None, 7]),
        (KEY, ASKED, "action", [*ODD, "other"]),
        (KEY, ASKED, "requesting_device_id", ODD),
        (SECRET, ASKED, "request_id", ODD),
        (VERIFY, VERIFIED, "transaction_id", ODD),
        # Too deep to be compared.
        (SECRET, ASKED, "body", [deep]),
        (VERIFY, VERIFIED, "body", [deep]),
    ],
)
def test_what_is_malformed_is_not_named(
    message_type: str, well_formed: dict[str, str], name: str, values: list[Any]
) -> None:
    assert read(well_formed, message_type) is not None
    for value in values:
        changed = {**well_formed, name: value}
        assert read(changed, message_type) is None
        assert well_formed is not NOTICE or code_of(changed) == "malformed"
    assert all(read(each, message_type) is None for each in NO_CONTENTS)


@pytest.mark.parametrize(
    ("same", "of"),
    [
        # Some senders write what they have not as null; copies differ in what tells
        # them apart.
        (True, {"from_device": None, "room_id": None, "session_id": None}),
        (True, {"reason": "again", TRACING: "2"}),
        # The sender is the one that Synapse names. Some send both types, for
        # recipients that understand one; and a device ID is never a key.
        (False, {"sender": "@t:hs"}),
        (False, {"message_type": OLDER_WITHHELD}),
        (False, {"from_device": "K" * 43}),
        (False, {"from_device": "None"}),
        # The bounds are inside.
        (False, {"from_device": "D" * 255}),
        (False, {"sender_key": "K" * 64}),
    ],
)
def test_a_pair_is_of_a_type_a_sender_and_a_device(same: bool, of: Any) -> None:
    found, other = read(NOTICE), read(NOTICE, **of)

    assert found is not None
    assert other is not None
    assert same is (found == other) is (found.pair == other.pair)


def test_scope_is_part_of_the_pair_only_where_scopes_are_kept_apart() -> None:
    """A room alone is a scope, and so is a session."""
    names: list[dict[str, str]] = [{}, {"room_id": "!r"}, {"session_id": "1"}]
    for merge_scopes, pairs in ((True, 1), (False, 3)):
        rules = Ruleset.of(Config(merge_scopes=merge_scopes))
        found = [read({**NOTICE, **each}, rules=rules) for each in names]
        assert [WHOLE, SCOPED, SCOPED] == [each and each.variant for each in found]
        assert pairs == len({each.pair for each in found if each})


def test_every_code_about_a_session_is_named() -> None:
    """Those of the specification, and what senders make up."""
    pair = Pair("@s:hs", "device:S", WITHHELD, ("!room:hs", "session", "K" * 43))
    for code in ("m.unverified", "org.example.reason", "c" * 255):
        found = read(OF_SESSION, code=code)
        assert found is not None
        assert (pair, "K" * 43, code) == (found.pair, found.key, found.variant)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (
            {"algorithm": "m.olm.v1.x", "sender_key": "K", "ciphertext": {"A": 1}},
            ("K", {"A": 1}.keys()),
        ),
        ({"algorithm": "m.olm.v1", "sender_key": 1, "ciphertext": []}, (None, ())),
        ({"algorithm": MEGOLM, "sender_key": "K"}, None),
        ({"algorithm": 1}, None),
        ([], None),
    ],
)
def test_an_olm_message_tells_its_ends(contents: object, expected: object) -> None:
    assert expected == read_olm(contents)


@pytest.mark.parametrize(
    ("values", "left"),
    [([], []), (["1"], []), (["1", "2"], ["2"]), (['1\\"'], ['1\\"'])],
)
def test_the_first_value_to_follow_a_message_by_is_left_out_unless_escaped(
    values: list[str], left: list[str]
) -> None:
    def text(some: list[str]) -> str:
        traced = "".join(f',"{TRACING}":"{each}"' for each in some)
        return f'{{"type":"m.room_key.withheld"{traced}}}'

    assert text(left) == without_tracing(text(values))


def test_a_row_with_an_odd_type_or_sender_is_no_notice() -> None:
    """Another server may have sent anything."""
    message = {"sender": "@s:hs", "type": WITHHELD, "content": NOTICE}
    odds: list[Any] = [None, 7, [WITHHELD], {}]

    assert RULES.recognise(message) == read(NOTICE) is not None
    assert RULES.recognise({**message, "type": "m.other"}) is None
    for key in ("type", "sender"):
        for odd in odds:
            assert RULES.recognise({**message, key: odd}) is None
        assert RULES.recognise({k: v for k, v in message.items() if k != key}) is None


# Names of users and devices.


@pytest.mark.parametrize(
    ("user_id", "server"),
    [("@a:here", "here"), ("@a:[::1]:8448", "[::1]:8448"), ("@a", "")],
)
def test_the_server_is_what_follows_the_first_colon(user_id: str, server: str) -> None:
    """Ports and addresses have colons of their own; what a client sends is ours."""
    assert server == server_of(user_id)
    assert is_from(user_id, server)
    assert is_from(user_id, None)
    assert not is_from(user_id, "elsewhere")


@pytest.mark.parametrize(
    ("name", "storable", "possible"),
    [
        ("D\U0001f600", True, True),
        ("a\0", False, False),
        ("\udfff", False, False),
        ("D" * MAX_NAME_LENGTH, True, True),
        ("D" * (MAX_NAME_LENGTH + 1), True, False),
    ],
)
def test_a_name_is_asked_about_where_a_database_takes_it_and_somebody_may_have_it(
    name: str, *, storable: bool, possible: bool
) -> None:
    assert (storable, possible) == (is_storable(name), may_exist(name))
