"""The module's configuration: its keys, their defaults, and what is wrong with a value.

A reader takes the key, as errors name it, and the value; it returns what is meant.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Mapping, Tuple

import attrs

MODES = ("enforce", "observe")
REPEATS = ("queued", "session")
ON_UNKNOWN = ("deliver", "refuse")

# What a rule about requests may be besides on or off: a request that is taken back
# before anybody was handed it vanishes together with its cancellation.
VANISH = "vanish"


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
    key_requests: bool | str = False
    secret_requests: bool | str = False
    verification_requests: bool = False

    @property
    def vanishing(self) -> list[str]:
        """Return the rules of which cancellations vanish, by name."""
        rules = attrs.asdict(self)
        return [name for name, chosen in rules.items() if chosen == VANISH]


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
        max_pairs: How many pairs are remembered at once, for each of the two queues.
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
    max_pairs: int = 200_000
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


# How many rows the sweep may read at once: they have to fit into memory.
MOST_BATCH_SIZE = 10_000

# Shares of it are for one mailbox and for one sender: those have to hold something.
LEAST_PAIRS = 1000

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


# By key: the attribute that it stands for, and its reader.
Readers = Dict[str, Tuple[str, Callable[[str, object], Any]]]


def read_keys(
    config: Mapping[object, object], readers: Readers, within: str = ""
) -> dict[str, Any]:
    """Return the attributes that the keys of a mapping stand for.

    Args:
        config: The mapping.
        readers: What is known to be in it.
        within: What errors put before its keys.

    Raises:
        InvalidConfigError: A key is unknown or its value is not usable.
    """
    values: dict[str, Any] = {}
    for key, value in config.items():
        if not isinstance(key, str) or key not in readers:
            known = ", ".join(within + each for each in readers)
            named = within + key if isinstance(key, str) else key
            raise InvalidConfigError(
                f"synapse_withheld: unknown key {named!r}; the known keys are: {known}"
            )
        attribute, read = readers[key]
        values[attribute] = read(within + key, value)
    return values


def mapping(make: Callable[..., Any], readers: Readers) -> Callable[..., Any]:
    """Return the reader of a mapping, of which `make` makes a value."""

    def read(key: str, value: object) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(key, value, "a mapping of " + ", ".join(readers))
        return make(**read_keys(value, readers, within=f"{key}."))

    return read


def choice(*allowed: str) -> Callable[[str, object], str]:
    """Return the reader of one of some words."""

    def read(key: str, value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise _wrong(key, value, "one of: " + ", ".join(allowed))
        return value

    return read


def boolean(key: str, value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise _wrong(key, value, "true or false")
    return value


def or_vanish(key: str, value: object) -> bool | str:
    """Read true, false or `vanish`."""
    if value != VANISH and not isinstance(value, bool):
        raise _wrong(key, value, "true, false or vanish")
    return value


def count(key: str, value: object) -> int:
    """Read a whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(key, value, "a whole number, 1 or more")
    return value


def pairs(key: str, value: object) -> int:
    """Read how many pairs are remembered."""
    if count(key, value) < LEAST_PAIRS:
        raise _wrong(key, value, f"at least {LEAST_PAIRS}")
    return count(key, value)


def batch_size(key: str, value: object) -> int:
    """Read how many rows the sweep looks at between pauses."""
    if count(key, value) > MOST_BATCH_SIZE:
        raise _wrong(key, value, f"at most {MOST_BATCH_SIZE}")
    return count(key, value)


def pause_ms(key: str, value: object) -> int:
    """Read a duration that may be 0, in milliseconds."""
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return 0
    return duration_ms(key, value)


def duration_ms(key: str, value: object) -> int:
    """Read a duration as Synapse writes them, in milliseconds."""
    right = "a duration such as 24h, 30m or 7d, or a number of milliseconds, above 0"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise _wrong(key, value, right)
    parts = _DURATION.fullmatch(str(value))
    if parts is None:
        raise _wrong(key, value, right)
    milliseconds = int(parts[1]) * _UNIT_MS[parts[2]]
    if milliseconds < 1:
        raise _wrong(key, value, right)
    return milliseconds


def _wrong(key: str, value: object, right: str) -> InvalidConfigError:
    return InvalidConfigError(
        f"synapse_withheld: '{key}' must be {right}; found {describe(value)}"
    )


def describe(value: object) -> str:
    """Return a value and its type as an error shows them."""
    shown = repr(value)
    # A pasted secret or a whole file must not end up in the log.
    if len(shown) > MOST_SHOWN:
        shown = shown[:MOST_SHOWN] + "..."
    return f"{shown} ({type(value).__name__})"


_SWEEP: Readers = {
    "enabled": ("enabled", boolean),
    "batch_size": ("batch_size", batch_size),
    "pause": ("pause_ms", pause_ms),
}

_RULES: Readers = {
    each.name: (each.name, boolean) for each in attrs.fields(RulesConfig)
}
_RULES["key_requests"] = ("key_requests", or_vanish)
_RULES["secret_requests"] = ("secret_requests", or_vanish)

_KEYS: Readers = {
    "mode": ("mode", choice(*MODES)),
    "repeat": ("repeat", choice(*REPEATS)),
    "session_hold": ("session_hold_ms", duration_ms),
    "outbox": ("outbox", boolean),
    "merge_scopes": ("merge_scopes", boolean),
    "max_pairs": ("max_pairs", pairs),
    "pages": ("pages", boolean),
    "on_unknown_synapse": ("on_unknown_synapse", choice(*ON_UNKNOWN)),
    "sweep": ("sweep", mapping(SweepConfig, _SWEEP)),
    "rules": ("rules", mapping(RulesConfig, _RULES)),
}
