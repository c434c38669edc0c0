"""What the module tells of a process, on pages of metrics or its own; and the sums.

What is something else is raised as an `UnreachableError`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable, Iterator

import attrs
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from synapse_withheld.cli.homeserver.http import (
    FOUND,
    Address,
    UnreachableError,
    get,
    read_url,
)
from synapse_withheld.cli.homeserver.listeners import METRICS_PATH
from synapse_withheld.operators.pages.asking import PATH
from synapse_withheld.operators.share import collapsed_share
from synapse_withheld.rules.decision import COLLAPSE, SUPERSEDE, Decision

PREFIX = "synapse_withheld_"

# The module's own page holds no data and is shown to everybody; its numbers are not.
SHOWN, STATUS = f"{PATH}/", f"{PATH}/v1/status"


@attrs.frozen
class Page:
    """What the module tells of one process; nothing where it is not loaded."""

    samples: tuple[Sample, ...]

    def of(self, name: str, **labels: str) -> Iterator[Sample]:
        """Give the samples of a metric that have these labels."""
        for each in self.samples:
            if each.name == PREFIX + name and labels.items() <= each.labels.items():
                yield each

    def label(self, name: str) -> str:
        return next((each.labels.get(name, "") for each in self.of("info")), "")


def add_up(pages: Iterable[Page]) -> dict[str, Any]:
    """Add up the pages of several processes.

    `seen` counts messages that a rule names, once for each mailbox they were for; the
    `share` is of the repeats that collapsed, `None` where there was none.
    """
    pages = list(pages)
    together = Page(tuple(sample for page in pages for sample in page.samples))

    def total(name: str, **labels: str) -> int:
        return int(sum(each.value for each in together.of(name, **labels)))

    decided = [(each.labels, each.value) for each in together.of("decisions_total")]
    rules = sorted({labels["rule"] for labels, _ in decided})
    return {
        "processes": len(pages),
        "active": total("active"),
        "modes": sorted({each.labels["mode"] for each in together.of("info")}),
        "seen": total("decisions_total"),
        "rules": {rule: total("decisions_total", rule=rule) for rule in rules},
        "collapsed": total("decisions_total", decision=COLLAPSE),
        "superseded": total("decisions_total", decision=SUPERSEDE),
        "bytes_saved": total("collapsed_bytes_total"),
        "failures": total("failures_total"),
        "tracked_pairs": total("tracked_pairs"),
        "share": collapsed_share(
            (labels["rule"], Decision(labels["decision"], labels["reason"]), times)
            for labels, times in decided
        ),
    }


def complete(text: str) -> Address:
    url = read_url(text, "http://127.0.0.1:9000")
    bare = re.fullmatch(r"(http://unix:[^:]+:|\w+://[^/?#]*)/?", url)
    return Address(f"{bare[1]}{METRICS_PATH}" if bare else url)


def fetch(address: Address) -> Page:
    status, text = get(address)
    if status != FOUND:
        raise UnreachableError(f"it answers {status}")
    return parse(text)


def parse(text: str) -> Page:
    """Read a page in Prometheus' text format."""
    if "# TYPE " not in text:
        raise UnreachableError("it answers, but not with metrics")
    # Synapse's own are many, and their parsing takes seconds on a large server.
    ours = "\n".join(line for line in text.splitlines() if PREFIX in line)
    try:
        families: list[Metric] = list(text_string_to_metric_families(ours + "\n"))
    except ValueError as error:
        raise UnreachableError(f"its metrics cannot be read: {error}") from error
    return Page(tuple(sample for family in families for sample in family.samples))


def as_metrics(text: str) -> Page:
    """Return what the numbers of the module's page say, as metrics say it."""
    try:
        return Page(tuple(_samples(json.loads(text))))
    except (ValueError, KeyError, TypeError) as error:
        raise UnreachableError(f"it answers something else: {error!r}") from error


def _samples(status: dict[str, Any]) -> Iterator[Sample]:
    config = status["config"]
    labels = {"mode": config["mode"], "repeat": config["repeat"]}
    yield Sample(f"{PREFIX}info", {"version": status["version"], **labels}, 1)
    yield Sample(f"{PREFIX}active", {}, float(status["state"] != "resting"))
    for each in status["reasons"]:
        decided = {key: each[key] for key in ("rule", "decision", "reason")}
        yield Sample(f"{PREFIX}decisions_total", decided, each["count"])
    for each in status["failures"]:
        stage = {"stage": each["stage"]}
        yield Sample(f"{PREFIX}failures_total", stage, each["count"])
