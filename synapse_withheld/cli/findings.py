"""What `check` finds: the configuration, the writer, and what its metrics say."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Iterator, Mapping, NamedTuple

import attrs

from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.homeserver.configuration import MODULE, Deployment
from synapse_withheld.cli.homeserver.http import FOUND, Address
from synapse_withheld.cli.homeserver.numbers import Page, add_up
from synapse_withheld.cli.tested import RELEASES
from synapse_withheld.config import Config
from synapse_withheld.version import VERSION

RIGHT, NOTE, WRONG, UNKNOWN = "ok", "note", "wrong", "unknown"

_FINAL = [each for each in RELEASES.split() if "rc" not in each]
OLDEST_TESTED, NEWEST_TESTED = (_FINAL[end].removesuffix(".0") for end in (0, -1))

# In the order in which they are told: each rests on those before.
QUESTIONS = [
    "module",
    "synapse",
    "config",
    "writer",
    "metrics",
    "loaded",
    "active",
    "failures",
]

_SERVER_ERROR = 500


class Answer(NamedTuple):
    """The answer to one question, and what to do unless that is right.

    Its state is `ok`; `note`, for what may be right; `wrong`; or `unknown`, where
    nobody can be asked, because of something before.
    """

    state: str
    found: str
    do: str = ""


def importable() -> Answer:
    """Say whether this Python finds the module as Synapse would."""
    try:
        import_module("synapse_withheld.module")
    except ImportError as error:
        raise ProblemError(
            f"{MODULE} cannot be imported: {error}",
            "run this with the Python that Synapse runs with, where it has to be "
            "installed",
        ) from error
    return Answer(RIGHT, f"synapse_withheld {VERSION} can be imported")


def tested(synapse: str) -> Answer:
    """Say whether a version of Synapse was tested."""
    found = f"{synapse}; tested with {OLDEST_TESTED} to {NEWEST_TESTED}"
    if synapse in RELEASES.split():
        return Answer(RIGHT, found)
    do = "look for a newer synapse_withheld; 'active' below says whether this one acts"
    return Answer(NOTE, f"{found}, not with this one", do)


def configured(
    config: Config, written: Mapping[str, Any], deployment: Deployment
) -> Answer:
    """Tell the configuration, and what is right in it, but hardly meant."""
    found, do = [f"mode: {config.mode}, repeat: {config.repeat}"], []
    if not any(attrs.astuple(config.rules)):
        found.append("all rules are off, so that it does nothing")
        do.append("set one under 'rules' to true")
    if "session_hold" in written and config.repeat != "session":
        found.append("'session_hold' does nothing without 'repeat: session'")
        do.append("set 'repeat: session', or remove 'session_hold'")
    redis = deployment.shared.get("redis")
    if config.rules.vanishing and isinstance(redis, dict) and redis.get("enabled"):
        found.append("'vanish' works as 'true' with workers")
        do.append("nothing; 'true' says the same")
    return Answer(NOTE if do else RIGHT, "; ".join(found), "; ".join(do))


def page_answers(address: Address, status: int, config: Config) -> Answer:
    """Say what it means that the module's page is there, or is not."""
    if status == FOUND:
        return Answer(RIGHT, f"the module's page answers at {address}")
    if status >= _SERVER_ERROR:
        do = "look for this request in Synapse's log: it could not answer it"
        raise ProblemError(f"{address} answers {status}", do)
    if config.pages:
        raise _not_loaded()
    # Nothing else of a module can be seen from outside.
    return Answer(UNKNOWN, "not told without metrics or pages")


def numbers(page: Page, writer: str, config: Config) -> Iterator[Answer]:
    """Say whether a process runs what it is to, whether it acts, and what failed."""
    expected = {"version": VERSION, "mode": config.mode, "repeat": config.repeat}
    running = {key: page.label(key) for key in expected}
    if not running["version"]:
        raise _not_loaded()
    different = [
        f"{key} {running[key]}, not {value}"
        for key, value in expected.items()
        if running[key] != value
    ]
    if different:
        do = "restart Synapse: it runs what was there when it started"
        raise ProblemError(f"it runs {'; '.join(different)}", do)
    yield Answer(RIGHT, f"{VERSION}, mode: {config.mode}")
    yield from _acting(add_up([page]), writer, config)


def _acting(totals: dict[str, Any], writer: str, config: Config) -> Iterator[Answer]:
    if not totals["active"]:
        raise ProblemError(
            "0: this process stores every message as usual",
            f"look for 'synapse_withheld' in the log of {writer}: it says why",
        )
    seen, collapsed = f"{totals['seen']:,}", f"{totals['collapsed']:,}"
    if config.enforces:
        yield Answer(RIGHT, f"1; {seen} notices seen, {collapsed} collapsed")
    else:
        found = f"{seen} notices seen, {collapsed} would have collapsed"
        do = "set 'mode: enforce' where more than counting is wanted"
        yield Answer(NOTE, f"1, but only counts; {found}", do)
    if not totals["failures"]:
        yield Answer(RIGHT, "0")
    else:
        # It acts all the same, and one may be of weeks ago.
        found = f"{totals['failures']:,} since it started; no message was lost"
        do = "if they become more, look for 'synapse_withheld failed' in its log"
        yield Answer(NOTE, found, do)


def _not_loaded() -> ProblemError:
    return ProblemError(
        "the process that answers did not load the module",
        "restart Synapse; if that is done, see whether this is its listener, and "
        "what its log says at start",
    )
