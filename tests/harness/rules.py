"""The configuration with every rule on."""

from __future__ import annotations

from synapse_withheld.config import RulesConfig

EVERY_RULE = RulesConfig(
    no_olm=True,
    withheld=True,
    key_requests=True,
    secret_requests=True,
    verification_requests=True,
)
