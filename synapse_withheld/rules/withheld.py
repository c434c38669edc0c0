"""The rule `withheld`: why a sender's device keeps one session back, in one message.

From the Matrix specification, `m.room_key.withheld`: every code but `m.no_olm`, also
one that a sender made up, may tell about one session. The newest code of a session
counts; its repeats tell nothing.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import (
    NO_OLM,
    WITHHELD_TYPES,
    has_code,
    is_short,
    read_withheld,
)
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.notice import ANY, Notice, Pair, Rule, Slot

_SESSION: tuple[Slot, ...] = (("session", ANY),)


@attrs.frozen
class SessionWithheld(Rule):
    """Withheld messages about one session; the variant is the code."""

    name: ClassVar[str] = "withheld"
    types: ClassVar[frozenset[str]] = WITHHELD_TYPES
    # What the types have in common.
    marks: ClassVar[tuple[str, ...]] = ("room_key.withheld",)
    about_keys: ClassVar[bool] = True

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        if not has_code(content):
            return None
        code = content["code"]
        if code == NO_OLM or not is_short(code):
            return None
        withheld = read_withheld(content)
        if withheld is None or None in {withheld.room_id, withheld.session_id}:
            return None
        session = (withheld.room_id, withheld.session_id, withheld.sender_key)
        pair = Pair(sender, withheld.device, message_type, session)
        return Notice(self, pair, withheld.sender_key, code)

    def takes(self, notice: Notice, *, seen_arriving: bool) -> tuple[Slot, ...]:
        del notice, seen_arriving
        return _SESSION

    def yields_to(self, notice: Notice) -> tuple[Slot, ...]:
        del notice
        return _SESSION

    def says_as_much(self, queued: Notice, notice: Notice) -> bool:
        return queued.variant == notice.variant

    def why_stored(self, queued: Notice, notice: Notice) -> Decision:
        same = queued.variant == notice.variant
        return decision.REPEATED if same else decision.NEW_CODE
