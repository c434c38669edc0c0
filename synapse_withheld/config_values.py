"""Read single values of the configuration, and say in words what is wrong with one.

A reader takes the key, as errors name it, and the value; it returns what the value
stands for.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Mapping, Tuple

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


def count(key: str, value: object) -> int:
    """Read a whole number, 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(key, value, "a whole number, 1 or more")
    return value


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
