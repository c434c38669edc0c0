"""Fetch pages of metrics, and add up what the module says on them."""

from __future__ import annotations

from typing import Iterable, Iterator, Mapping

import attrs
from prometheus_client.parser import text_string_to_metric_families

from synapse_withheld.cli.shared.homeserver.address import Address, address_like
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, get
from synapse_withheld.cli.shared.homeserver.listeners import METRICS_PATH
from synapse_withheld.operators.share import collapsed_share
from synapse_withheld.rules.decision import COLLAPSE, SUPERSEDE, Decision

PREFIX = "synapse_withheld_"


@attrs.frozen
class Sample:
    """One number of a page."""

    name: str
    labels: Mapping[str, str]
    value: float


@attrs.frozen
class Page:
    """What the module says on one page of metrics; nothing where it is not loaded."""

    samples: tuple[Sample, ...]

    def total(self, name: str, **labels: str) -> int:
        """Add up a metric over all labels that are not given."""
        return int(
            sum(
                sample.value
                for sample in self.samples
                if sample.name == PREFIX + name
                and labels.items() <= sample.labels.items()
            )
        )

    def label(self, name: str) -> str:
        """Return a label of the `info` metric."""
        for sample in self.samples:
            if sample.name == f"{PREFIX}info":
                return sample.labels.get(name, "")
        return ""


@attrs.frozen
class Totals:
    """What several processes say together.

    Attributes:
        processes: How many were read.
        active: How many of them act.
        modes: The modes they are configured for.
        seen: Messages that a rule names, once for each mailbox they were for.
        rules: The same by the name of the rule.
        collapsed: Those of them that were not stored.
        superseded: Those that were stored in place of a queued one.
        bytes_saved: Bytes of message JSON that were not stored.
        failures: Failures of the module.
        tracked_pairs: Pairs that are remembered, for both queues together.
        share: The part of the repeats that collapsed; `None` where there was none.
    """

    processes: int
    active: int
    modes: tuple[str, ...]
    seen: int
    rules: dict[str, int]
    collapsed: int
    superseded: int
    bytes_saved: int
    failures: int
    tracked_pairs: int
    share: float | None

    @property
    def only_observed(self) -> bool:
        """Say whether all that is told as done would have been done."""
        return self.modes == ("observe",)


def parse(text: str) -> Page:
    """Read a page in Prometheus' text format.

    Raises:
        UnreachableError: It is none.
    """
    if "# TYPE " not in text:
        raise UnreachableError("it answers, but not with metrics")
    # Synapse's own are many, and their parsing takes seconds on a large server.
    ours = "\n".join(line for line in text.splitlines() if PREFIX in line)
    try:
        return Page(
            tuple(
                Sample(sample.name, sample.labels, sample.value)
                for family in text_string_to_metric_families(ours + "\n")
                for sample in family.samples
            )
        )
    except ValueError as error:
        raise UnreachableError(f"its metrics cannot be read: {error}") from error


def add_up(pages: Iterable[Page]) -> Totals:
    """Add up the pages of several processes."""
    pages = list(pages)

    def total(name: str, **labels: str) -> int:
        return sum(page.total(name, **labels) for page in pages)

    rules = {
        sample.labels["rule"]
        for page in pages
        for sample in page.samples
        if "rule" in sample.labels
    }
    modes = {page.label("mode") for page in pages} - {""}
    return Totals(
        processes=len(pages),
        active=total("active"),
        modes=tuple(sorted(modes)),
        seen=total("decisions_total"),
        rules={rule: total("decisions_total", rule=rule) for rule in sorted(rules)},
        collapsed=total("decisions_total", decision=COLLAPSE),
        superseded=total("decisions_total", decision=SUPERSEDE),
        bytes_saved=total("collapsed_bytes_total"),
        failures=total("failures_total"),
        tracked_pairs=total("tracked_pairs"),
        share=collapsed_share(_decided(pages)),
    )


def _decided(pages: Iterable[Page]) -> Iterator[tuple[str, Decision, float]]:
    for page in pages:
        for sample in page.samples:
            if sample.name == f"{PREFIX}decisions_total":
                labels = sample.labels
                decided = Decision(labels["decision"], labels["reason"])
                yield labels["rule"], decided, sample.value


def complete(text: str) -> Address:
    """Read an address of metrics from the command line: host and port are enough.

    Raises:
        argparse.ArgumentTypeError: It is no address of HTTP.
    """
    return address_like("http://127.0.0.1:9000")(text).with_path(METRICS_PATH)


async def fetch(address: Address) -> Page:
    """Read the metrics of one process.

    Raises:
        UnreachableError: It does not answer, or with something else.
    """
    status, text = await get(address)
    if status != 200:  # noqa: PLR2004 known to all
        raise UnreachableError(f"it answers {status}")
    return parse(text)
