"""A real Prometheus understands the rules and finds what the dashboard asks for."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, AsyncIterator, Callable
from urllib.parse import urlsplit

import pytest
from pytest_twisted import async_yield_fixture

from synapse_withheld.operators.series import SERVER_NAME_LABEL
from tests.harness import dashboards
from tests.harness.commands import program, run
from tests.harness.messages import ENCRYPTED, make_key, make_olm_lookalike
from tests.harness.samples import DECISIONS, TIDIED, total
from tests.harness.senders import outward_from
from tests.harness.servers.prometheus import Prometheus
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.servers.stage import Stage, two_on
from tests.harness.waiting import until

program("prometheus")  # or the whole file is skipped

# Prometheus is younger than the hour that the day before begins with.
YOUNG = ("[1d] offset 1h", "[1d] offset 1s")
LABELS = {"job": "synapse", "index": "1"}

RULES = dashboards.rules()
RECORDS = [each for each in RULES if "record" in each]
EVERYTHING = [query for _, query in dashboards.expressions()]
EVERYTHING += [str(each.get("definition")) for each in dashboards.variables()]
ASKED = [
    *(query for _, query in dashboards.panel_queries()),
    *(each["expr"] for each in RECORDS),
    *(f'{each["record"]}{{server_name="$server_name"}}' for each in RECORDS),
    # Each part by itself: an `or` would hide that a half of it is misspelt.
    *sorted({each for query in EVERYTHING for each in dashboards.selectors_in(query)}),
]


@async_yield_fixture(scope="module")
async def prometheus(
    new_directory: Callable[[], Path], stage: Stage
) -> AsyncIterator[Prometheus]:
    """Run a Synapse and a Prometheus through a storm."""
    remote = RemoteServer()
    homeserver = await stage.start({"sweep": True})
    target = urlsplit(homeserver.metrics_url).netloc
    rules = dashboards.RULES.read_text().replace(*YOUNG)
    prometheus = Prometheus(new_directory(), target, LABELS, rules)
    try:
        await prometheus.start()
        two, outward = await two_on(homeserver), await outward_from(homeserver, remote)
        await until(lambda: prometheus.query(DECISIONS), bool)
        # Three times deliver, collapse and supersede, each seen by itself.
        for number in range(3):
            keys = {"sender_key": make_key(f"key {number}")}
            for _ in range(3):
                await two.send(two.notice(**keys))
                await outward.send(outward.notice(**keys))
            await two.send(make_olm_lookalike(keys["sender_key"]), ENCRYPTED)
            await two.send(two.notice(**keys))
            seen = f"sum({DECISIONS}) == {total(await homeserver.metrics(), DECISIONS)}"
            await until(partial(prometheus.query, seen), bool)
        for queue in ("inbox", "outbox"):
            tidied = f'{TIDIED}{{queue="{queue}"}} > 0'
            await until(partial(prometheus.query, tidied), bool)
        yield prometheus
    finally:
        await prometheus.stop()
        await remote.stop()


def test_promtool_accepts_the_rules() -> None:
    """Each alert fires when it should, and only then."""
    for asked in (
        f"check rules --lint-fatal {dashboards.RULES}",
        f"test rules {dashboards.RULE_TESTS}",
    ):
        run(f"{program('promtool')} {asked}", dashboards.DOCS)


@pytest.mark.parametrize("expression", ASKED)
async def test_what_is_asked_exists(prometheus: Prometheus, expression: str) -> None:
    """For the chosen server, instance, job and index; failures are zero, not absent."""

    def are_numbers(samples: list[dict[str, Any]]) -> bool:
        numbers = [float(sample["value"][1]) for sample in samples]
        return bool(numbers) and not any(map(math.isnan, numbers))

    # Synapse before 1.135 has no such label, which to Prometheus is an empty one.
    values = {"server_name": SERVER_NAME if SERVER_NAME_LABEL else ""}
    values.update(instance=prometheus.target, bucket_size="1m", **LABELS)
    text = dashboards.fill_in(expression, values).replace(*YOUNG)
    await until(lambda: prometheus.query(text), are_numbers)


async def test_no_alert_fires_where_all_is_well(prometheus: Prometheus) -> None:
    rules = await until(
        prometheus.rule_states,
        lambda rules: all(rule["health"] != "unknown" for rule in rules),
    )
    states = {
        rule["name"]: (rule["health"], rule["state"])
        for rule in rules
        if rule["type"] == "alerting"
    }
    alerts = [each["alert"] for each in RULES if "alert" in each]
    assert states == dict.fromkeys(alerts, ("ok", "inactive"))
