"""What senders put into messages is read, whatever that is."""

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
from synapse_withheld.rules.identifiers import is_from, server_of
from synapse_withheld.rules.ruleset import Ruleset
from tests.harness.rules import EVERY_RULE

RULES = Ruleset.of(Config(rules=EVERY_RULE))


def content(**changed: Any) -> dict[str, Any]:
    """Return the content of a notice in the specification's form."""
    notice = {"algorithm": "m.megolm.v1.aes-sha2", "code": "m.no_olm"}
    return {**notice, "sender_key": "K" * 43, **changed}


MALFORMED: dict[str, list[Any]] = {
    "code": [None, ["m.no_olm"]],
    "algorithm": [None, "m.megolm.v2", ["m.megolm.v1.aes-sha2"]],
    "sender_key": [None, 7, "", "K" * 65],
    "from_device": [7, "", "D" * 256],
    "room_id": [{}],
    "session_id": ["S" * 256],
}


@pytest.mark.parametrize(
    ("contents", "code"),
    [
        (content(), "m.no_olm"),
        *((content(code=code), code) for code in SESSION_CODES),
        ({"code": "m.history_not_shared"}, "m.history_not_shared"),
        (content(code="com.example.secret"), "other"),
        ({}, "malformed"),
        ("m.no_olm", "malformed"),
        (None, "malformed"),
        *(
            (content(**{name: value}), "malformed")
            for name, values in MALFORMED.items()
            for value in values
        ),
    ],
)
def test_a_code_is_named_as_metrics_name_it(contents: object, code: str) -> None:
    """Without a session only a well-formed one of `m.no_olm` is a notice."""
    assert code == code_of(contents)
    found = RULES.read("@s:hs", "m.room_key.withheld", contents)
    assert (code == "m.no_olm") == (found is not None)


def test_null_says_the_same_as_a_missing_key() -> None:
    """Some senders write what they have not as null. The bounds are inside."""
    most = content(sender_key="K" * 64)
    empty = {"from_device": None, "room_id": None, "session_id": None}
    found = [
        RULES.read("@s:hs", "m.room_key.withheld", {**most, **more})
        for more in ({}, empty, {"from_device": "D" * 255})
    ]

    assert found[0] == found[1]
    named = {**most, "from_device": "None"}
    assert found[0] != RULES.read("@s:hs", "m.room_key.withheld", named)
    assert ["K" * 64] * 3 == [each and each.key for each in found]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (
            {"algorithm": "m.olm.v1.x", "sender_key": "K", "ciphertext": {"A": 1}},
            ("K", {"A": 1}.keys()),
        ),
        ({"algorithm": "m.olm.v2"}, (None, ())),
        ({"algorithm": "m.olm.v1", "sender_key": 1, "ciphertext": []}, (None, ())),
        ({"algorithm": "m.megolm.v1.aes-sha2", "sender_key": "K"}, None),
        ({"algorithm": 1}, None),
        ({}, None),
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


# Python 3.12 and newer go down some ten thousand levels.
deep: dict[str, Any] = {}
for _ in range(100_000):
    deep = {"deeper": deep}

# By the type: what is well-formed.
REQUESTS: dict[str, dict[str, Any]] = {
    "m.room_key_request": {
        "action": "request",
        "requesting_device_id": "S",
        "request_id": "1",
    },
    "m.key.verification.request": {"transaction_id": "1"},
}
REQUESTS["m.secret.request"] = REQUESTS["m.room_key_request"]


@pytest.mark.parametrize("message_type", REQUESTS)
def test_a_malformed_request_is_not_named(message_type: str) -> None:
    well_formed = REQUESTS[message_type]
    odd: list[Any] = [None, 7, "", "D" * 256, ["request"], "other"]
    changed: list[Any] = [
        *({**well_formed, name: value} for name in well_formed for value in odd[:5]),
        *({**well_formed, "action": value} for value in odd if "action" in well_formed),
        # Too deep to be compared.
        {**well_formed, "body": deep},
        {},
        [],
        None,
    ]

    assert RULES.read("@s:hs", message_type, well_formed) is not None
    for each in changed:
        assert RULES.read("@s:hs", message_type, each) is None


@pytest.mark.parametrize(
    ("user_id", "server"),
    [
        ("@a:here", "here"),
        ("@a:here:8448", "here:8448"),
        ("@a:[::1]:8448", "[::1]:8448"),
        ("@a", ""),
        ("", ""),
    ],
)
def test_the_server_is_what_follows_the_first_colon(user_id: str, server: str) -> None:
    """Ports and addresses have colons of their own; what a client sends is ours."""
    assert server == server_of(user_id)
    assert is_from(user_id, server)
    assert is_from(user_id, None)
    assert not is_from(user_id, "elsewhere")
