"""The rule `withheld`: why a sender's device keeps one session back, in one message.

From the Matrix specification, `m.room_key.withheld`: the codes `m.blacklisted`,
`m.unverified`, `m.unauthorised` and `m.unavailable` tell about one session. The newest
code of a session counts; its repeats tell nothing.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import (
    SESSION_CODES,
    WITHHELD_TYPES,
    has_code,
    read_withheld,
)
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import Remembered
from synapse_withheld.rules.notice import Notice, Pair, Rule


@attrs.frozen
class SessionWithheld(Rule):
    """Withheld messages about one session; the variant is the code's number."""

    name: ClassVar[str] = "withheld"
    types: ClassVar[frozenset[str]] = WITHHELD_TYPES
    marks: ClassVar[tuple[str, ...]] = SESSION_CODES
    about_keys: ClassVar[bool] = True

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """Return the notice that a withheld message is, if it is about a session."""
        if not has_code(content) or content["code"] not in SESSION_CODES:
            return None
        withheld = read_withheld(content)
        if withheld is None or None in {withheld.room_id, withheld.session_id}:
            return None
        session = (withheld.room_id, withheld.session_id, withheld.sender_key)
        pair = Pair(sender, withheld.device, message_type, session)
        variant = SESSION_CODES.index(content["code"])
        return Notice(self, pair, withheld.sender_key, variant)

    def news(self, variant: int, earlier: Remembered) -> Decision | None:
        """Another code for the session is news."""
        return None if earlier.variant == variant else decision.NEW_CODE

    def supersedes(self, older: int, newer: int, *, same_key: bool) -> bool:
        """The newest code counts."""
        del older, newer, same_key
        return True
