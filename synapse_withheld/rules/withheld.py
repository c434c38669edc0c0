"""The rules for withheld messages: why the device of a sender keeps keys back.

From the Matrix specification, `m.room_key.withheld`. One with the code `m.no_olm` is
sent once, and not again until an Olm session between the two devices existed. Of one
session the newest code counts, be it one that a sender made up; repeats tell nothing.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from synapse_withheld.rules import decision
from synapse_withheld.rules.content import (
    NO_OLM,
    WITHHELD,
    WITHHELD_TYPES,
    has_code,
    is_short,
    read_withheld,
)
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.notice import ANY, Notice, Pair, Rule, Slot

# The variants of `m.no_olm`: it names neither room nor session, or one of them.
WHOLE, SCOPED = "whole", "scoped"

_SESSION: tuple[Slot, ...] = (("session", ANY),)


@attrs.frozen
class NoOlm(Rule):
    """Notices that a sender's device cannot open an Olm session.

    Attributes:
        merge_scopes: Whether those about different sessions share a pair.
    """

    merge_scopes: bool = True

    name: ClassVar[str] = "no_olm"
    types: ClassVar[frozenset[str]] = WITHHELD_TYPES
    marks: ClassVar[tuple[str, ...]] = (NO_OLM,)
    about_keys: ClassVar[bool] = True
    once_per_session: ClassVar[bool] = True

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """The two types never stand for each other: some recipients know only one."""
        if not has_code(content) or content["code"] != NO_OLM:
            return None
        withheld = read_withheld(content)
        if withheld is None:
            return None
        named = (withheld.room_id, withheld.session_id)
        scope = None if self.merge_scopes else named
        pair = Pair(sender, withheld.device, message_type, scope)
        variant = WHOLE if named == (None, None) else SCOPED
        return Notice(self, pair, withheld.sender_key, variant)

    def takes(self, notice: Notice, *, seen_arriving: bool) -> tuple[Slot, ...]:
        """It stands for what has its key, and if it was seen arriving for any.

        What was found in the database may have a sender who never sent it: a Synapse
        that stored such messages may have run before.
        """
        own = (notice.variant, notice.key)
        return (own, (notice.variant, ANY)) if seen_arriving else (own,)

    def yields_to(self, notice: Notice) -> tuple[Slot, ...]:
        """One that names nothing says more than any that names a session.

        It applies to all that the recipient could not read until it receives it.
        """
        whole = ((WHOLE, notice.key), (WHOLE, ANY))
        if notice.variant == WHOLE:
            return whole
        return (*whole, (SCOPED, notice.key), (SCOPED, ANY))

    def says_as_much(self, queued: Notice, notice: Notice) -> bool:
        return queued.key == notice.key and not _says_less(queued, notice)

    def why_stored(self, queued: Notice, notice: Notice) -> Decision:
        if queued.key != notice.key:
            stays = _says_less(notice, queued)
            return decision.NOT_REPEATED if stays else decision.NEW_KEY
        less = _says_less(queued, notice)
        return decision.SCOPE if less else decision.REPEATED


def _says_less(notice: Notice, than: Notice) -> bool:
    return notice.variant == SCOPED and than.variant == WHOLE


@attrs.frozen
class SessionWithheld(Rule):
    """Withheld messages about one session; the variant is the code."""

    name: ClassVar[str] = "withheld"
    types: ClassVar[frozenset[str]] = WITHHELD_TYPES
    marks: ClassVar[tuple[str, ...]] = (WITHHELD,)
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
