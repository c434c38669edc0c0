"""Scrape a Synapse, and add up what it says."""

from __future__ import annotations

import re
from typing import Mapping

from tests.harness.waiting import read

DECISIONS = "synapse_withheld_decisions_total"
FAILURES = "synapse_withheld_failures_total"
ACTIVE = "synapse_withheld_active"
TIDIED = "synapse_withheld_tidied_rows_total"
HOUSEKEEPING = "synapse_withheld_housekeeping_queue"


async def scrape(url: str) -> dict[str, float]:
    """Return Synapse's samples at an address, by name and labels without the server."""
    # One that starts may be making more meanwhile: collecting them fails then.
    page = (await read(url)).decode()
    text = re.sub(r'server_name="[^"]*",?', "", page).replace("{}", "")
    found = re.findall(r"^(synapse_.*) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def total(metrics: Mapping[str, float], name: str, **labels: str) -> float:
    """Add up a metric over all labels that are not given."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(
        value
        for series, value in metrics.items()
        if series.partition("{")[0] == name and all(each in series for each in wanted)
    )
