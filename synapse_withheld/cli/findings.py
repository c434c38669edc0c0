"""What `check` finds: the configuration, the writer, and what its metrics say."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Iterator, Mapping

import attrs

from synapse_withheld.cli.homeserver.address import Address
from synapse_withheld.cli.homeserver.configuration import (
    MODULE,
    ConfigProblemError,
    Deployment,
    module_entry,
    parsed,
)
from synapse_withheld.cli.homeserver.fetching import FOUND
from synapse_withheld.cli.homeserver.numbers import Page, Totals, add_up
from synapse_withheld.cli.tested import RELEASES
from synapse_withheld.config import Config
from synapse_withheld.version import VERSION

RIGHT, NOTE, WRONG, UNKNOWN = "ok", "note", "wrong", "unknown"

_FINAL = [each for each in RELEASES.split() if "rc" not in each]
OLDEST_TESTED, NEWEST_TESTED = (_FINAL[end].removesuffix(".0") for end in (0, -1))

# In the order in which they are told: each rests on those before.
QUESTIONS = (
    "module",
    "synapse",
    "config",
    "writer",
    "metrics",
    "loaded",
    "active",
    "failures",
)

_SERVER_ERROR = 500

_THERE = "run this with the Python that Synapse runs with"


@attrs.frozen
class Finding:
    """The answer to one question.

    Attributes:
        question: One of `QUESTIONS`.
        state: `ok`; `note`, for what may be right; `wrong`; or `unknown`, where
            nobody can be asked, because of something before.
        found: What was found.
        do: What to do about it; empty where it is right.
    """

    question: str
    state: str
    found: str
    do: str = ""


def wrong(question: str, error: ConfigProblemError) -> Finding:
    return Finding(question, WRONG, error.found, error.do)


def importable() -> Finding:
    """Say whether this Python finds the module as Synapse would."""
    name, _, class_name = MODULE.rpartition(".")
    try:
        getattr(import_module(name), class_name)
    except (ImportError, AttributeError) as error:
        return Finding(
            "module",
            WRONG,
            f"{MODULE} cannot be imported: {error}",
            f"{_THERE}, where it has to be installed",
        )
    return Finding("module", RIGHT, f"synapse_withheld {VERSION} can be imported")


def installed_synapse() -> str | None:
    """Return the version of the Synapse that is installed; `None` if none is.

    Without the module's own look-up, which needs Synapse to be imported.
    """
    try:
        return version("matrix-synapse")
    except PackageNotFoundError:
        return None


def tested(synapse: str | None) -> Finding:
    """Say whether a version of Synapse was tested."""
    if synapse is None:
        return Finding("synapse", WRONG, "not installed here", _THERE)
    found = f"{synapse}; tested with {OLDEST_TESTED} to {NEWEST_TESTED}"
    if synapse in RELEASES.split():
        return Finding("synapse", RIGHT, found)
    do = "look for a newer synapse_withheld; 'active' below says whether this one acts"
    return Finding("synapse", NOTE, f"{found}, not with this one", do)


def configured(deployment: Deployment, writer: str) -> tuple[Finding, Config | None]:
    """Say whether the process that is to act has the module, rightly configured."""
    process = deployment.config_of(writer)
    # Its own file may be missing here; most name the module in the shared one.
    try:
        entry = module_entry(deployment.shared if process is None else process)
        config = parsed(entry)
    except ConfigProblemError as error:
        return wrong("config", error), None
    found = f"mode: {config.mode}, repeat: {config.repeat}"
    notes = list(_notes(config, entry.get("config") or {}, deployment))
    if not notes:
        return Finding("config", RIGHT, found), config
    found = "; ".join([found, *(each for each, _ in notes)])
    do = "; ".join(each for _, each in notes)
    return Finding("config", NOTE, found, do), config


def _notes(
    config: Config, written: Mapping[str, Any], deployment: Deployment
) -> Iterator[tuple[str, str]]:
    """Give what is right, but hardly meant, and what to do about it."""
    if not any(attrs.astuple(config.rules)):
        yield (
            "all rules are off, so that it does nothing",
            "set one under 'rules' to true",
        )
    if "session_hold" in written and config.repeat != "session":
        yield (
            "'session_hold' does nothing without 'repeat: session'",
            "set 'repeat: session', or remove 'session_hold'",
        )
    redis = deployment.shared.get("redis")
    if isinstance(redis, dict) and redis.get("enabled"):
        for name in config.rules.vanishing:
            yield (
                f"'rules.{name}: vanish' works as 'true' with workers",
                f"nothing; 'rules.{name}: true' says the same",
            )


def loaded(page: Page, config: Config | None) -> Finding:
    """Say whether the process runs what is installed and configured."""
    running = {key: page.label(key) for key in ("version", "mode", "repeat")}
    if not running["version"]:
        return not_loaded()
    expected: dict[str, str] = {"version": VERSION}
    if config is not None:
        expected.update(mode=config.mode, repeat=config.repeat)
    different = [
        f"{key} {running[key]}, not {value}"
        for key, value in expected.items()
        if running[key] != value
    ]
    if different:
        do = "restart Synapse: it runs what was there when it started"
        return Finding("loaded", WRONG, f"it runs {'; '.join(different)}", do)
    found = f"{running['version']}, mode: {running['mode']}"
    return Finding("loaded", RIGHT, found)


def not_loaded() -> Finding:
    """Say that the process that answers knows nothing of the module."""
    return Finding(
        "loaded",
        WRONG,
        "the process that answers did not load the module",
        "restart Synapse; if that is done, see whether this is its listener, and "
        "what its log says at start",
    )


def page_answers(address: Address, status: int, config: Config | None) -> Finding:
    """Say what it means that the module's page is there, or is not."""
    if status == FOUND:
        return Finding("loaded", RIGHT, f"the module's page answers at {address}")
    if status >= _SERVER_ERROR:
        do = "look for this request in Synapse's log: it could not answer it"
        return Finding("loaded", WRONG, f"{address} answers {status}", do)
    if config is not None and not config.pages:
        # Nothing else of a module can be seen from outside.
        return Finding("loaded", UNKNOWN, "not told without metrics or pages")
    return not_loaded()


def acting(page: Page, writer: str) -> list[Finding]:
    """Say whether the process acts, and whether anything failed."""
    totals = add_up([page])
    return [_active(totals, writer), _failures(page, totals)]


def complete(findings: list[Finding]) -> list[Finding]:
    """Add what could not be found out, because of what is said before it."""
    by_question = {each.question: each for each in findings}
    found = "cannot be told before the above is right"
    if not any(each.state == WRONG for each in findings):
        found = "not told without metrics or an admin's access token"
    return [
        by_question.get(question, Finding(question, UNKNOWN, found))
        for question in QUESTIONS
    ]


def _active(totals: Totals, writer: str) -> Finding:
    if totals.active == 0:
        return Finding(
            "active",
            WRONG,
            "0: this process stores every message as usual",
            f"look for 'synapse_withheld' in the log of {writer}: it says why",
        )
    would = "would have " if totals.only_observed else ""
    seen = f"{totals.seen:,} notices seen, {totals.collapsed:,} {would}collapsed"
    if totals.only_observed:
        do = "set 'mode: enforce' where more than counting is wanted"
        return Finding("active", NOTE, f"1, but only counts; {seen}", do)
    return Finding("active", RIGHT, f"1; {seen}")


def _failures(page: Page, totals: Totals) -> Finding:
    if totals.failures == 0:
        return Finding("failures", RIGHT, "0")
    stages = sorted(
        f"{each.labels['stage']}: {each.value:,.0f}"
        for each in page.of("failures_total")
        if each.value
    )
    # It acts all the same, and one may be of weeks ago.
    return Finding(
        "failures",
        NOTE,
        f"{totals.failures:,} since it started ({', '.join(stages)}); no message was "
        "lost",
        "if they become more, look for 'synapse_withheld failed' in its log",
    )
