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
    MAX_ID_LENGTH,
    NO_OLM,
    WITHHELD_MARK,
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
    marks: ClassVar[tuple[str, ...]] = (WITHHELD_MARK,)
    about_keys: ClassVar[bool] = True

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """Return the notice that a withheld message is, if it is about a session."""
        if not has_code(content):
            return None
        code = content["code"]
        if code == NO_OLM or not is_short(code, MAX_ID_LENGTH):
            return None
        withheld = read_withheld(content)
        if withheld is None or None in {withheld.room_id, withheld.session_id}:
            return None
        session = (withheld.room_id, withheld.session_id, withheld.sender_key)
        pair = Pair(sender, withheld.device, message_type, session)
        return Notice(self, pair, withheld.sender_key, code)

    def takes(self, notice: Notice, *, seen_arriving: bool) -> tuple[Slot, ...]:
        """There is one thing to tell of a session."""
        del notice, seen_arriving
        return _SESSION

    def yields_to(self, notice: Notice) -> tuple[Slot, ...]:
        """The newest code counts, whichever it is."""
        del notice
        return _SESSION

    def says_as_much(self, queued: Notice, notice: Notice) -> bool:
        """Another code for the session is news."""
        return queued.variant == notice.variant

    def why_stored(self, queued: Notice, notice: Notice) -> Decision:
        """It has another code."""
        same = self.says_as_much(queued, notice)
        return decision.REPEATED if same else decision.NEW_CODE
