"""The module's configuration: its keys, their defaults, and what is wrong with a value.

A reader takes a value and returns what is meant, or says what would be right. Errors
speak of YAML, not of Python: that is what operators write.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any, Callable, Dict, Mapping, Tuple, Type, TypeVar

import attrs

# What a rule about requests may be besides on or off: a request that is taken back
# before anybody was handed it vanishes together with its cancellation.
VANISH = "vanish"

# How often the backlog is swept where `sweep: true` says no more, and at most: a sweep
# reads every mailbox, which takes minutes to hours on a large server.
SWEEP_EVERY_MS = 86_400_000
LEAST_SWEEP_EVERY_MS = 3_600_000

# Shares of it are for one mailbox and for one sender: those have to hold something.
LEAST_PAIRS = 1000

# The shortest duration that anybody means: `24` is written for 24 hours, not for 24
# milliseconds.
LEAST_MS = 1000

# How much of a wrong value an error shows, in characters; whole numbers beyond that
# are never meant; and how alike, from 0 to 1, a wrong word is to what may be meant.
MOST_SHOWN = 60
MOST_INT = 10**15
ALIKE = 0.7

# Synapse's own units for durations, in milliseconds.
_UNIT_MS = {
    "": 1,
    "s": 1000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_DURATION = re.compile(r"([0-9]{1,12})([smhdwy]?)")

T = TypeVar("T")
Reader = Callable[[object], Any]


class InvalidConfigError(ValueError):
    """A key of the module's configuration is unknown or has a wrong value.

    Attributes:
        problem: What is wrong.
        path: The keys that lead to what it is about.
    """

    def __init__(self, problem: str, path: Tuple[str, ...] = ()) -> None:
        super().__init__(problem, path)
        self.problem = problem
        self.path = path

    def __str__(self) -> str:
        return f"'{'.'.join(self.path)}' {self.problem}" if self.path else self.problem


def duration_ms(value: object) -> int:
    """Read a duration, written as Synapse's own or as a number of milliseconds.

    Raises:
        InvalidConfigError: It is none, or shorter than anybody means. The error names
            no key: the command line reads durations with this, too.
    """
    right = "a duration such as 1s, 30m or 24h"
    parts = _DURATION.fullmatch(_shown(value))
    if parts is None:
        raise _wrong(value, right)
    milliseconds = int(parts[1]) * _UNIT_MS[parts[2]]
    if milliseconds < LEAST_MS:
        right += ", a second or more; a number without a unit is milliseconds"
        raise _wrong(value, f"{right}, {LEAST_MS} or more")
    return milliseconds


def _choice(*allowed: bool | str) -> Reader:
    """Return the reader of one of some words; `true` and `false` are such."""

    def read(value: object) -> bool | str:
        for each in allowed:
            # 1 is equal to true.
            if type(value) is type(each) and value == each:
                return each
        words = [_shown(each) for each in allowed]
        right = f"{', '.join(words[:-1])} or {words[-1]}"
        raise _wrong(value, right, _meant(value, words))

    return read


def _max_pairs(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < LEAST_PAIRS:
        raise _wrong(value, f"a whole number, {LEAST_PAIRS} or more")
    return value


def _sweep(value: object) -> int | None:
    """Read how often the backlog is swept, in milliseconds; `None` for never."""
    if value is None or value is False or value == {}:
        return None
    if value is True:
        return SWEEP_EVERY_MS
    if isinstance(value, Mapping) and set(value) == {"every"}:
        return int(_mapping(value, {"every": _sweep_every})["every"])
    try:
        meant = f"{{every: {_shown(value)}}}" if _sweep_every(value) else None
    except InvalidConfigError:
        meant = None
    raise _wrong(value, "true, false or {every: 24h}", meant)


def _sweep_every(value: object) -> int:
    milliseconds = duration_ms(value)
    if milliseconds < LEAST_SWEEP_EVERY_MS:
        raise _wrong(value, "an hour or more, such as 24h")
    return milliseconds


def _key(default: object, reader: Reader, written: str = "") -> Any:
    """Return an attribute that is a key, with another name where it is written so."""
    return attrs.field(default=default, metadata={"read": reader, "as": written})


@attrs.frozen
class RulesConfig:
    """The mapping `rules`: which messages the module acts on."""

    no_olm: bool = _key(True, _choice(True, False))
    withheld: bool = _key(False, _choice(True, False))
    key_requests: bool | str = _key(False, _choice(True, False, VANISH))
    secret_requests: bool | str = _key(False, _choice(True, False, VANISH))
    verification_requests: bool = _key(False, _choice(True, False))

    @property
    def vanishing(self) -> list[str]:
        rules = attrs.asdict(self)
        return [name for name, chosen in rules.items() if chosen == VANISH]


def _rules(value: object) -> RulesConfig:
    return _parse(value, RulesConfig)


@attrs.frozen
class Config:
    """What an operator chose; `docs/configuration.md` says what each key does.

    Attributes:
        sweep_every_ms: How long after a sweep of the backlog began the next one does;
            `None` where there is none.
    """

    mode: str = _key("enforce", _choice("enforce", "observe"))
    repeat: str = _key("queued", _choice("queued", "session"))
    session_hold_ms: int = _key(86_400_000, duration_ms, "session_hold")
    outbox: bool = _key(True, _choice(True, False))
    merge_scopes: bool = _key(True, _choice(True, False))
    max_pairs: int = _key(200_000, _max_pairs)
    pages: bool = _key(True, _choice(True, False))
    on_unknown_synapse: str = _key("deliver", _choice("deliver", "refuse"))
    sweep_every_ms: int | None = _key(None, _sweep, "sweep")
    rules: RulesConfig = _key(RulesConfig(), _rules)  # noqa: RUF009 a definition

    @property
    def hold_s(self) -> float | None:
        """Return how long a delivered notice stands for later ones, if it does."""
        return self.session_hold_ms / 1000 if self.repeat == "session" else None

    @property
    def enforces(self) -> bool:
        return self.mode == "enforce"


def parse(config: object) -> Config:
    """Read what YAML made of the `config:` mapping in `homeserver.yaml`, if any.

    Raises:
        InvalidConfigError: It names the key, what was found and what would be right.
    """
    try:
        return _parse(config, Config)
    except InvalidConfigError as error:
        if error.path:
            raise
        raise InvalidConfigError(f"'config' {error.problem}") from None


def _keys(cls: Type[Any]) -> Dict[str, attrs.Attribute[Any]]:
    """Return the attributes of a class by their keys."""
    return {each.metadata["as"] or each.name: each for each in attrs.fields(cls)}


def _parse(value: object, cls: Type[T]) -> T:
    keys = _keys(cls)
    read = _mapping(value, {key: each.metadata["read"] for key, each in keys.items()})
    return cls(**{keys[key].name: meant for key, meant in read.items()})


def _mapping(config: object, readers: Mapping[str, Reader]) -> Dict[str, Any]:
    if config is None:
        # `rules:` with nothing behind it, or with all of it commented out.
        return {}
    if not isinstance(config, Mapping):
        raise _wrong(config, f"a mapping of {', '.join(readers)}")
    values: dict[str, Any] = {}
    for key, value in config.items():
        if key not in readers:
            raise _unknown(key, readers)
        try:
            values[key] = readers[key](value)
        except InvalidConfigError as error:
            raise InvalidConfigError(error.problem, (key, *error.path)) from None
    return values


def _unknown(key: object, readers: Mapping[str, Reader]) -> InvalidConfigError:
    """Return the error of a key, with the one that may have been meant."""
    # Where each belongs, for one that was written elsewhere.
    places = {each: f"rules.{each}" for each in _keys(RulesConfig)}
    places.update({"every": "sweep.every"}, **{each: each for each in _keys(Config)})
    meant = _meant(key, list(readers)) or _meant(key, list(places))
    known = f"the known keys are: {', '.join(readers)}"
    hint = f"did you mean '{places[meant]}'?" if meant else known
    return InvalidConfigError(f"is no known key; {hint}", (_shown(key),))


def _wrong(value: object, right: str, meant: str | None = None) -> InvalidConfigError:
    found = _shown(value)
    if isinstance(value, Mapping):
        found = f"a mapping of {_shown(', '.join(map(_shown, value)) or 'nothing')}"
    elif isinstance(value, list):
        found = "a list"
    elif isinstance(value, str):
        found = f"the text '{found}'"
    hint = f"; did you mean {meant}?" if meant else ""
    return InvalidConfigError(f"must be {right}; found {found}{hint}")


def _meant(value: object, words: list[str]) -> str | None:
    """Return the word that a value or a key is nearly."""
    if not isinstance(value, str):
        return None
    written = value.lower().replace("-", "_")
    return next(iter(get_close_matches(written, words, 1, ALIKE)), None)


def _shown(value: object) -> str:
    """Return a value in the words of YAML, cut where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > MOST_INT:
        # Python refuses to write out the largest.
        return "a number beyond measure"
    # A pasted secret or a whole file must not end up in the log.
    text = str(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
