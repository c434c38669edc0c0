"""The rules that an operator chose."""

from __future__ import annotations

from typing import Any, Mapping

import attrs

from synapse_withheld.config import VANISH, Config
from synapse_withheld.rules.content import MAX_ID_LENGTH
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Rule
from synapse_withheld.rules.requests import (
    KeyRequests,
    SecretRequests,
    VerificationRequests,
)
from synapse_withheld.rules.withheld import SessionWithheld


@attrs.frozen
class Ruleset:
    """Some rules; no two of them name the same message.

    Attributes:
        types: The types of messages that any rule names.
        marks: What the text of every row that any rule names contains one of.
    """

    rules: tuple[Rule, ...]
    types: frozenset[str] = attrs.field(init=False)
    marks: tuple[str, ...] = attrs.field(init=False)
    _by_type: dict[str, list[Rule]] = attrs.field(init=False, eq=False, repr=False)

    @types.default
    def _all_types(self) -> frozenset[str]:
        return frozenset[str]().union(*(rule.types for rule in self.rules))

    @_by_type.default
    def _rules_by_type(self) -> dict[str, list[Rule]]:
        return {
            each: [rule for rule in self.rules if each in rule.types]
            for each in self.types
        }

    @marks.default
    def _all_marks(self) -> tuple[str, ...]:
        # Each costs a pass over every row: where the types say enough, no code has to.
        marks = [mark for rule in self.rules for mark in rule.marks]
        of_types = {mark for mark in marks if any(mark in each for each in self.types)}

        def say_all(types: frozenset[str]) -> bool:
            return all(any(mark in each for mark in of_types) for each in types)

        return tuple(
            mark
            for rule in self.rules
            for mark in rule.marks
            if mark in of_types or not say_all(rule.types)
        )

    @classmethod
    def of(cls, config: Config) -> Ruleset:
        """Return the rules that a configuration names."""
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
