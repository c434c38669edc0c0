"""The module's configuration: its keys and their defaults."""

from __future__ import annotations

from typing import Mapping

import attrs

from synapse_withheld.config_values import (
    InvalidConfigError,
    Readers,
    batch_size,
    boolean,
    choice,
    count,
    describe,
    duration_ms,
    mapping,
    pause_ms,
    read_keys,
)

MODES = ("enforce", "observe")
REPEATS = ("queued", "session")
ON_UNKNOWN = ("deliver", "refuse")


@attrs.frozen
class SweepConfig:
    """The mapping `sweep`: the backlog is tidied in the background.

    Attributes:
        enabled: Whether it is, once after Synapse started.
        batch_size: How many rows are looked at between pauses.
        pause_ms: How long each pause is, in milliseconds.
    """

    enabled: bool = False
    batch_size: int = 1000
    pause_ms: int = 100


@attrs.frozen
class RulesConfig:
    """The mapping `rules`: which messages the module acts on.

    Attributes:
        no_olm: Notices that there is no Olm session.
        withheld: Withheld messages about one session.
        key_requests: Requests for room keys, and their cancellations.
        secret_requests: Requests for secrets, and their cancellations.
        verification_requests: Requests to verify, and their cancellations.
    """

    no_olm: bool = True
    withheld: bool = False
    key_requests: bool = False
    secret_requests: bool = False
    verification_requests: bool = False


@attrs.frozen
class Config:
    """What an operator chose; each attribute is a key of the `config:` mapping.

    Attributes:
        mode: `enforce`, or `observe` to decide and count but change nothing.
        repeat: `queued`: a notice that was read may be repeated. `session`: not
            before an Olm message passed, or the hold is over.
        session_hold_ms: With `repeat: session`, how long a delivered notice
            stands for later ones, in milliseconds.
        outbox: Whether notices that wait for other servers collapse too.
        merge_scopes: Whether notices about different sessions stand for each
            other.
        max_mailboxes: How many mailboxes are remembered at once.
        max_pairs_per_mailbox: How many pairs are remembered in one mailbox.
        max_pairs_per_sender: How many pairs of one sender are remembered in one
            mailbox.
        max_requests_per_sender: The same of requests and their cancellations, of
            which many are of one pair of devices.
        max_pairs: How many pairs are remembered at once.
        pages: Whether the writer serves its pages to server admins.
        on_unknown_synapse: `deliver` to stand aside on a Synapse whose internals
            are not the ones tested, `refuse` to stop it.
        sweep: How the backlog is tidied.
        rules: Which messages the module acts on.
    """

    mode: str = "enforce"
    repeat: str = "queued"
    session_hold_ms: int = 86_400_000
    outbox: bool = True
    merge_scopes: bool = True
    max_mailboxes: int = 100_000
    max_pairs_per_mailbox: int = 20_000
    max_pairs_per_sender: int = 100
    max_requests_per_sender: int = 10_000
    max_pairs: int = 1_000_000
    pages: bool = True
    on_unknown_synapse: str = "deliver"
    sweep: SweepConfig = SweepConfig()
    rules: RulesConfig = RulesConfig()

    @property
    def hold_s(self) -> float | None:
        """Return how long a delivered notice stands for later ones, in seconds.

        `None` where it does not.
        """
        return self.session_hold_ms / 1000 if self.repeat == "session" else None

    @property
    def enforces(self) -> bool:
        """Say whether decisions are carried out, not only counted."""
        return self.mode == "enforce"


def parse(config: object) -> Config:
    """Read the `config:` mapping of the module's entry in `homeserver.yaml`.

    Args:
        config: What YAML made of the mapping; `None` where there is none.

    Raises:
        InvalidConfigError: A key is unknown or its value is not usable. The
            message names the key, what was found and what would be right.
    """
    if config is None:
        config = {}
    if not isinstance(config, Mapping):
        raise InvalidConfigError(
            f"synapse_withheld: 'config' must be a mapping of keys to values, "
            f"found {describe(config)}"
        )
    return Config(**read_keys(config, _KEYS))


_SWEEP: Readers = {
    "enabled": ("enabled", boolean),
    "batch_size": ("batch_size", batch_size),
    "pause": ("pause_ms", pause_ms),
}

_RULES: Readers = {
    each.name: (each.name, boolean) for each in attrs.fields(RulesConfig)
}

_KEYS: Readers = {
    "mode": ("mode", choice(*MODES)),
    "repeat": ("repeat", choice(*REPEATS)),
    "session_hold": ("session_hold_ms", duration_ms),
    "outbox": ("outbox", boolean),
    "merge_scopes": ("merge_scopes", boolean),
    "max_mailboxes": ("max_mailboxes", count),
    "max_pairs_per_mailbox": ("max_pairs_per_mailbox", count),
    "max_pairs_per_sender": ("max_pairs_per_sender", count),
    "max_requests_per_sender": ("max_requests_per_sender", count),
    "max_pairs": ("max_pairs", count),
    "pages": ("pages", boolean),
    "on_unknown_synapse": ("on_unknown_synapse", choice(*ON_UNKNOWN)),
    "sweep": ("sweep", mapping(SweepConfig, _SWEEP)),
    "rules": ("rules", mapping(RulesConfig, _RULES)),
}
