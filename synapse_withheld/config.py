"""The module's configuration and its worded errors."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Mapping, Tuple

import attrs

MODES = ("enforce", "observe")
REPEATS = ("queued", "session")
ON_UNKNOWN = ("deliver", "refuse")

# How many rows the sweep may read at once: they have to fit into memory.
MOST_BATCH_SIZE = 10_000

# How much of a wrong value an error shows, in characters.
MOST_SHOWN = 60

# Synapse's own units for durations, in milliseconds.
_DURATION = re.compile(r"(\d+)([smhdwy]?)", re.ASCII)
_UNIT_MS = {
    "": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}


class InvalidConfigError(ValueError):
    """A key of the module's configuration is unknown or has a wrong value."""


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
            f"found {_describe(config)}"
        )
    return Config(**_read_keys(config, _PARSERS))


def _read_keys(
    config: Mapping[object, object], parsers: _Parsers, within: str = ""
) -> dict[str, Any]:
    """Return the attributes that the keys of a mapping stand for.

    Args:
        config: The mapping.
        parsers: What is known to be in it.
        within: What errors put before its keys.
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        if not isinstance(key, str) or key not in parsers:
            known = ", ".join(within + each for each in parsers)
            named = within + key if isinstance(key, str) else key
            raise InvalidConfigError(
                f"synapse_withheld: unknown key {named!r}; the known keys are: {known}"
            )
        attribute, read = parsers[key]
        values[attribute] = read(within + key, value)
    return values


def _mapping(make: Callable[..., Any], parsers: _Parsers) -> Callable[..., Any]:
    def read(key: str, value: object) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a mapping of " + ", ".join(parsers))
        return make(**_read_keys(value, parsers, within=f"{key}."))

    return read


def _choice(*allowed: str) -> Callable[[str, object], str]:
    def read(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _wrong(key, value, "one of: " + ", ".join(allowed))
        return value

    return read


def _boolean(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def _count(key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(key, value, "a whole number, 1 or more")
    return value


def _batch_size(key: str, value: object) -> int:
    if _count(key, value) > MOST_BATCH_SIZE:
        raise _wrong(key, value, f"at most {MOST_BATCH_SIZE}")
    return _count(key, value)


def _pause_ms(key: str, value: object) -> int:
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    return _duration_ms(key, value)


def _duration_ms(key: str, value: object) -> int:
    right = "a duration such as 24h, 30m or 7d, or a number of milliseconds, above 0"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _wrong(key, value, right)
    parts = _DURATION.fullmatch(str(value))
    if parts is None:
        raise _wrong(key, value, right)
    duration_ms = int(parts[1]) * _UNIT_MS[parts[2]]
    if duration_ms < 1:
        raise _wrong(key, value, right)
    return duration_ms


def _wrong(key: str, value: object, right: str) -> InvalidConfigError:
    return InvalidConfigError(
        f"synapse_withheld: '{key}' must be {right}; found {_describe(value)}"
    )


def _describe(value: object) -> str:
    shown = repr(value)
    # A pasted secret or a whole file must not end up in the log.
    if len(shown) > MOST_SHOWN:
        shown = shown[:MOST_SHOWN] + "..."
    return f"{shown} ({type(value).__name__})"


_Parsers = Dict[str, Tuple[str, Callable[[str, object], Any]]]

_SWEEP_PARSERS: _Parsers = {
    "enabled": ("enabled", _boolean),
    "batch_size": ("batch_size", _batch_size),
    "pause": ("pause_ms", _pause_ms),
}

_RULES_PARSERS: _Parsers = {
    each.name: (each.name, _boolean) for each in attrs.fields(RulesConfig)
}

_PARSERS: _Parsers = {
    "mode": ("mode", _choice(*MODES)),
    "repeat": ("repeat", _choice(*REPEATS)),
    "session_hold": ("session_hold_ms", _duration_ms),
    "outbox": ("outbox", _boolean),
    "merge_scopes": ("merge_scopes", _boolean),
    "max_mailboxes": ("max_mailboxes", _count),
    "max_pairs_per_mailbox": ("max_pairs_per_mailbox", _count),
    "max_pairs_per_sender": ("max_pairs_per_sender", _count),
    "max_requests_per_sender": ("max_requests_per_sender", _count),
    "max_pairs": ("max_pairs", _count),
    "pages": ("pages", _boolean),
    "on_unknown_synapse": ("on_unknown_synapse", _choice(*ON_UNKNOWN)),
    "sweep": ("sweep", _mapping(SweepConfig, _SWEEP_PARSERS)),
    "rules": ("rules", _mapping(RulesConfig, _RULES_PARSERS)),
}
