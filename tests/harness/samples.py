"""Scrape a Synapse, and count what the module says that it did."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, AsyncIterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.harness.client import MatrixError
from tests.harness.waiting import fetch, pause

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

TRIES = 5


async def scrape(url: str) -> dict[str, float]:
    """Return the samples at an address by their names.

    These are `name{label="value",…}` with sorted labels, without the server's name.
    """
    # A Synapse that starts may be making more meanwhile. Collecting them fails then,
    # in Synapse's own code.
    for _ in range(TRIES):
        status, page = await fetch("GET", url)
        if status == 200:
            break
        await pause()
    else:
        raise MatrixError(f"{url} answers {status}")
    # Telling all of them apart takes longer than Synapse takes to make them.
    lines = [line for line in page.decode().splitlines() if line.startswith(READ)]
    samples = {}
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            told = sorted(sample.labels.items())
            labels = [
                f'{name}="{value}"' for name, value in told if name != "server_name"
            ]
            key = f"{sample.name}{{{','.join(labels)}}}" if labels else sample.name
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


@asynccontextmanager
async def counted(
    homeserver: Homeserver, queue: str = "inbox"
) -> AsyncIterator[dict[str, int]]:
    """Count the decisions made meanwhile; those of which there were any.

    The dictionary that this gives is filled at the end.
    """
    made: dict[str, int] = {}
    before = await homeserver.metrics()
    yield made
    after = await homeserver.metrics()
    for decision in ("deliver", "collapse", "supersede"):
        labels = {"decision": decision, "queue": queue}
        was, became = (total(each, DECISIONS, **labels) for each in (before, after))
        if became != was:
            made[decision] = int(became - was)


async def failures(homeserver: Homeserver) -> int:
    return int(total(await homeserver.metrics(), FAILURES))
