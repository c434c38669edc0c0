"""The configuration with every rule on."""

from __future__ import annotations

import attrs

from synapse_withheld.config import RulesConfig

EVERY_RULE = RulesConfig(**dict.fromkeys(attrs.fields_dict(RulesConfig), True))
