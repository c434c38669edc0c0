"""The rules that an operator chose."""

from __future__ import annotations

from typing import Any, Mapping

import attrs

from synapse_withheld.config import VANISH, Config
from synapse_withheld.rules.content import MAX_ID_LENGTH, NO_OLM, WITHHELD
from synapse_withheld.rules.notice import Notice, Rule
from synapse_withheld.rules.requests import (
    KeyRequests,
    SecretRequests,
    VerificationRequests,
)
from synapse_withheld.rules.withheld import NoOlm, SessionWithheld


@attrs.frozen
class Ruleset:
    """Some rules; no two of them name the same message.

    Attributes:
        marks: What the text of every row that any rule names contains one of.
    """

    rules: tuple[Rule, ...]
    marks: tuple[str, ...] = attrs.field(init=False)
    _by_type: dict[str, list[Rule]] = attrs.field(init=False, eq=False, repr=False)

    @marks.default
    def _all_marks(self) -> tuple[str, ...]:
        # Each costs a pass over every row: where all withheld messages are named, no
        # code of theirs has to be looked for.
        marks = [mark for rule in self.rules for mark in rule.marks]
        return tuple(each for each in marks if each != NO_OLM or WITHHELD not in marks)

    @_by_type.default
    def _rules_by_type(self) -> dict[str, list[Rule]]:
        by_type: dict[str, list[Rule]] = {}
        for rule in self.rules:
            for each in rule.types:
                by_type.setdefault(each, []).append(rule)
        return by_type

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self._by_type)

    @classmethod
    def of(cls, config: Config) -> Ruleset:
        chosen = config.rules
        rules: dict[Rule, bool | str] = {
            NoOlm(config.merge_scopes): chosen.no_olm,
            SessionWithheld(): chosen.withheld,
            KeyRequests(chosen.key_requests == VANISH): chosen.key_requests,
            SecretRequests(chosen.secret_requests == VANISH): chosen.secret_requests,
            VerificationRequests(): chosen.verification_requests,
        }
        return cls(tuple(rule for rule, is_on in rules.items() if is_on))

    def telling_later(self) -> Ruleset:
        """Return the same rules for who compares few requests; see `Later`."""
        return Ruleset(tuple(rule.telling_later() for rule in self.rules))

    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """Return what a rule makes of a message, `None` if no rule names it."""
        if len(sender) > MAX_ID_LENGTH:
            return None
        for rule in self._by_type.get(message_type, ()):
            notice = rule.read(sender, message_type, content)
            if notice is not None:
                return notice
        return None

    def recognise(self, message: Mapping[str, Any]) -> Notice | None:
        """Return what a rule makes of the JSON object of a row."""
        message_type, sender = message.get("type"), message.get("sender")
        # Another server may have sent anything as a type.
        if not isinstance(message_type, str) or not isinstance(sender, str):
            return None
        return self.read(sender, message_type, message.get("content"))
