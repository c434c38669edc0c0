"""Recognising notices that there is no Olm session."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.no_olm import SCOPED, WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice
from tests.unit.rules.test_content import content

STABLE = "m.room_key.withheld"
OLDER = "org.matrix.room_key.withheld"


def notice(
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
            notice().pair,
            notice(OLDER).pair,
            notice(sender="@t:hs").pair,
            notice(from_device="K" * 43).pair,
        }
    )
    # Copies differ in what tells them apart.
    copy: dict[str, Any] = {"reason": "again", "org.matrix.msgid": "2"}
    assert notice() == notice(**copy)


@pytest.mark.parametrize("merge_scopes", [True, False])
def test_scope_is_part_of_the_pair_only_where_scopes_are_kept_apart(
    merge_scopes: bool,
) -> None:
    """A room alone is a scope, and so is a session; `merge_scopes` decides."""
    names: list[dict[str, Any]] = [{}, {"room_id": "!r"}, {"session_id": "1"}]
    found = [notice(merge_scopes=merge_scopes, **each) for each in names]

    assert [WHOLE, SCOPED, SCOPED] == [each.variant for each in found]
    assert (1 if merge_scopes else 3) == len({each.pair for each in found})


@pytest.mark.parametrize(
    ("queued", "later", "expected"),
    [
        ({}, {}, None),
        ({"room_id": "!r"}, {"room_id": "!r"}, None),
        ({"room_id": "!r"}, {"room_id": "!s"}, None),
        ({}, {"room_id": "!r"}, None),
        ({"room_id": "!r"}, {}, decision.SCOPE),
        ({}, {"sender_key": "b"}, decision.NEW_KEY),
        ({"room_id": "!r"}, {"sender_key": "b"}, decision.NEW_KEY),
        ({"room_id": "!r"}, {"sender_key": "b", "room_id": "!r"}, decision.NEW_KEY),
        ({}, {"sender_key": "b", "room_id": "!r"}, decision.NOT_REPEATED),
    ],
)
def test_what_a_notice_says_that_the_queued_one_does_not(
    queued: dict[str, Any], later: dict[str, Any], expected: Decision | None
) -> None:
    """Where nothing, it was found in the database: else it would collapse."""
    one, other = notice(from_device="D", **queued), notice(from_device="D", **later)

    assert (expected is None) == NoOlm().says_as_much(one, other)
    assert (expected or decision.REPEATED) == NoOlm().why_stored(one, other)
