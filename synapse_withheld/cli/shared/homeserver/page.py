"""Ask the module's page where no metrics are told."""

from __future__ import annotations

import json
from typing import Any, Iterable

from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError
from synapse_withheld.cli.shared.homeserver.metrics_page import PREFIX, Page, Sample
from synapse_withheld.operators.pages.asking import PATH

# The page itself holds no data and is shown to everybody; its numbers are not.
SHOWN, STATUS = f"{PATH}/", f"{PATH}/v1/status"


def as_metrics(text: str) -> Page:
    """Return what the page's numbers say as metrics say it.

    Raises:
        UnreachableError: They are something else.
    """
    try:
        return Page(tuple(_samples(json.loads(text))))
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"it answers something else: {error!r}") from error


def _samples(status: dict[str, Any]) -> Iterable[Sample]:
    config = status["config"]
    labels = {"mode": config["mode"], "repeat": config["repeat"]}
    yield Sample(f"{PREFIX}info", {"version": status["version"], **labels}, 1)
    yield Sample(f"{PREFIX}active", {}, float(status["state"] != "resting"))
    for each in status["reasons"]:
        decided = {key: each[key] for key in ("rule", "decision", "reason")}
        yield Sample(f"{PREFIX}decisions_total", decided, each["count"])
    for each in status["failures"]:
        labels = {"stage": each["stage"]}
        yield Sample(f"{PREFIX}failures_total", labels, each["count"])
