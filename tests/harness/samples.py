"""Scrape a Synapse, and count what the module says that it did."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, AsyncIterator, Mapping

import treq
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.client import MatrixError
from tests.harness.waiting import cancellable, pause

if TYPE_CHECKING:
    from tests.harness.servers.homeserver import Homeserver


DECISIONS = "synapse_withheld_decisions_total"
FAILURES = "synapse_withheld_failures_total"
ACTIVE = "synapse_withheld_active"
TIDIED = "synapse_withheld_tidied_rows_total"
HOUSEKEEPING = "synapse_withheld_housekeeping_queue"

# The module's, and Synapse's own that count statements.
READ = (
    "synapse_withheld_",
    "synapse_storage_transaction_time_count",
    "synapse_storage_query_time_count",
)

OK = 200
TRIES = 5
TRY_EVERY_S = 0.1


async def scrape(url: str) -> dict[str, float]:
    """Read the page of metrics at an address, of which most say nothing to anybody.

    Returns:
        `name{label="value",…}` with sorted labels, without the server's name,
        to the sample's value.
    """
    samples = {}
    page = await cancellable(_page(url))
    # Telling all of them apart takes longer than Synapse takes to make them.
    text = "\n".join(line for line in page.splitlines() if line.startswith(READ))
    for family in text_string_to_metric_families(text + "\n"):
        for sample in family.samples:
            labels = ",".join(
                f'{name}="{value}"'
                for name, value in sorted(sample.labels.items())
                if name != "server_name"
            )
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            samples[key] = sample.value
    return samples


def total(metrics: Mapping[str, float], name: str, **labels: str) -> float:
    """Add up a metric over all labels that are not given."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value
        for series, value in metrics.items()
        if series.partition("{")[0] == name and all(each in series for each in wanted)
    )


def decisions(metrics: Mapping[str, float], queue: str = "inbox") -> dict[str, int]:
    """Return how many decisions of each kind were made about a queue."""
    return {
        decision: int(total(metrics, DECISIONS, decision=decision, queue=queue))
        for decision in ("deliver", "collapse", "supersede")
    }


@asynccontextmanager
async def counted(
    homeserver: Homeserver, queue: str = "inbox"
) -> AsyncIterator[dict[str, int]]:
    """Count the decisions made meanwhile; those of which there were any.

    The dictionary that this gives is filled at the end.
    """
    made: dict[str, int] = {}
    before = decisions(await homeserver.metrics(), queue)
    yield made
    after = decisions(await homeserver.metrics(), queue)
    made.update(
        {key: after[key] - before[key] for key in after if after[key] != before[key]}
    )


async def failures(homeserver: Homeserver) -> int:
    return int(total(await homeserver.metrics(), FAILURES))


async def _page(url: str) -> str:
    """Read metrics, of which a Synapse that starts may be making more meanwhile.

    Collecting them fails then, in Synapse's own code.
    """
    for _ in range(TRIES):
        response = await treq.get(url)
        text = await response.text()
        if response.code == OK:
            return text
        await pause(TRY_EVERY_S)
    raise MatrixError(f"{url} answers {response.code}")
