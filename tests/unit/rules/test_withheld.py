"""The rules for withheld messages: which they name, and what of them is one pair.

What a newer one does to a queued one is told in `tests/unit/memory/test_belief.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.rules.content import SESSION_CODES
from synapse_withheld.rules.no_olm import SCOPED, WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.withheld import SessionWithheld
from tests.unit.rules.test_content import content

STABLE = "m.room_key.withheld"
OLDER = "org.matrix.room_key.withheld"
RULE = SessionWithheld()


def no_olm(
    message_type: str = STABLE,
    sender: str = "@s:hs",
    *,
    merge_scopes: bool = True,
    **changed: Any,
) -> Notice:
    found = NoOlm(merge_scopes).read(sender, message_type, content(**changed))
    assert found is not None
    return found


def test_a_pair_is_of_a_type_a_sender_and_a_device() -> None:
    """The sender is the one that Synapse names, and a device ID is never a key.

    Some senders send both types, for recipients that understand one.
    """
    assert 4 == len(
        {
            no_olm().pair,
            no_olm(OLDER).pair,
            no_olm(sender="@t:hs").pair,
            no_olm(from_device="K" * 43).pair,
        }
    )
    # Copies differ in what tells them apart.
    copy: dict[str, Any] = {"reason": "again", "org.matrix.msgid": "2"}
    assert no_olm() == no_olm(**copy)


@pytest.mark.parametrize("merge_scopes", [True, False])
def test_scope_is_part_of_the_pair_only_where_scopes_are_kept_apart(
    merge_scopes: bool,
) -> None:
    """A room alone is a scope, and so is a session."""
    names: list[dict[str, Any]] = [{}, {"room_id": "!r"}, {"session_id": "1"}]
    found = [no_olm(merge_scopes=merge_scopes, **each) for each in names]

    assert [WHOLE, SCOPED, SCOPED] == [each.variant for each in found]
    assert (1 if merge_scopes else 3) == len({each.pair for each in found})


def of_session(**changed: Any) -> Notice | None:
    session = {"from_device": "S", "room_id": "!room:hs", "session_id": "session"}
    about = {"code": "m.unverified", **session, **changed}
    return RULE.read("@s:hs", STABLE, content(**about))


@pytest.mark.parametrize("code", [*SESSION_CODES, "org.example.reason", "c" * 255])
def test_every_code_about_a_session_is_named(code: str) -> None:
    """Those of the specification, and what senders make up."""
    pair = Pair("@s:hs", "device:S", STABLE, ("!room:hs", "session", "K" * 43))

    assert Notice(RULE, pair, "K" * 43, code) == of_session(code=code)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("code", ["m.no_olm", "", "c" * 256, ["m.unverified"], None]),
        ("algorithm", ["m.olm"]),
        ("room_id", [None]),
        ("session_id", [None, 7]),
        ("sender_key", [""]),
    ],
)
def test_what_is_not_about_a_session_is_not_named(name: str, values: Any) -> None:
    assert all(of_session(**{name: value}) is None for value in values)
