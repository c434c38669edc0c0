"""A real Prometheus understands the rules and finds what the dashboard asks for."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, AsyncIterator, Callable
from urllib.parse import urlsplit

import attrs
import pytest

from synapse_withheld.operators.series import SERVER_NAME_LABEL
from tests.harness import dashboards
from tests.harness.commands import program
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_olm_lookalike,
)
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import DECISIONS, TIDIED, total
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.prometheus import Prometheus, promtool
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.servers.stage import Stage, Two, two_on
from tests.harness.waiting import together, until

# Or the whole file is skipped.
program("prometheus")

# Prometheus is younger than the hour that the day before begins with.
YOUNG = ("[1d] offset 1h", "[1d] offset 1s")

PANELS = [query for _, query in dashboards.panel_queries()]
RECORDS = {each["record"]: each for each in dashboards.rules() if "record" in each}
ALERTS = [each["alert"] for each in dashboards.rules() if "alert" in each]
# What the dashboard takes the values of its variables from.
SOURCES = [
    each["definition"].split("(")[1].split(",")[0]
    for each in dashboards.variables()
    if each["type"] == "query"
]
SELECTORS = sorted(
    {
        selector
        for _, expression in dashboards.expressions()
        for selector in dashboards.selectors_in(expression)
    }
)


@attrs.frozen
class Watched:
    """A Synapse after a storm, the Prometheus that scrapes it, and its labels.

    Attributes:
        first_burst: How many decisions a Synapse made first after its start, and how
            many of them Prometheus saw as an increase.
    """

    prometheus: Prometheus
    values: dict[str, str]
    first_burst: tuple[float, float]

    async def returns_data(self, expression: str) -> None:
        text = dashboards.fill_in(expression, self.values).replace(*YOUNG)
        await until(lambda: self.prometheus.query(text), are_numbers)


def are_numbers(samples: list[dict[str, Any]]) -> bool:
    numbers = [float(sample["value"][1]) for sample in samples]
    return bool(numbers) and not any(map(math.isnan, numbers))


async def storm(two: Two, outward: Outward, number: int) -> None:
    """Send notices that deliver, collapse, supersede, and are released."""
    keys = {"sender_key": make_key(f"key {number}")}
    for _ in range(3):
        await two.send(two.notice(**keys))
        await outward.send(outward.notice(**keys))
    olm = make_olm_lookalike(keys["sender_key"])
    await two.send(olm, ENCRYPTED)
    await two.send(two.notice(**keys))

    async def released() -> float:
        for each in range(5):
            duplicate = two.send(two.notice(**keys))
            await together(duplicate, two.send({"number": each}, PLAIN))
        metrics = await two.homeserver.metrics()
        return total(metrics, DECISIONS, reason="released")

    before = total(await two.homeserver.metrics(), DECISIONS, reason="released")
    await until(released, lambda seen: seen > before)


async def decided(prometheus: Prometheus, homeserver: Homeserver) -> float:
    """Wait until Prometheus has seen each decision so far; return how many."""
    made = total(await homeserver.metrics(), DECISIONS)
    await until(
        lambda: prometheus.query(f"sum({DECISIONS})"),
        lambda samples: bool(samples) and float(samples[0]["value"][1]) == made,
    )
    return made


def has_tidied_both(metrics: dict[str, float]) -> bool:
    return all(total(metrics, TIDIED, queue=each) for each in ("inbox", "outbox"))


async def live_through(
    prometheus: Prometheus, homeserver: Homeserver, remote: RemoteServer
) -> tuple[float, float]:
    two = await two_on(homeserver)
    outward = await outward_from(homeserver, remote)
    await until(lambda: prometheus.query(DECISIONS), bool)
    await storm(two, outward, 1)
    first = await decided(prometheus, homeserver)
    (risen,) = await prometheus.query(f"sum(increase({DECISIONS}[1h]))")
    for number in (2, 3):
        await storm(two, outward, number)
        await decided(prometheus, homeserver)
    await until(homeserver.metrics, has_tidied_both)
    return first, float(risen["value"][1])


@async_yield_fixture(scope="module")
async def watched(
    new_directory: Callable[[], Path],
) -> AsyncIterator[Watched]:
    """Run a Synapse and a Prometheus through a storm; which database is no matter."""
    stage, remote = Stage(new_directory, lambda: None), RemoteServer()
    async with AsyncExitStack() as running:
        running.push_async_callback(stage.end)
        running.push_async_callback(remote.stop)
        await remote.start()
        module = {"sweep": True}
        homeserver = await stage.start(module)
        target = urlsplit(homeserver.metrics_url).netloc
        labels = {"job": "synapse", "index": "1"}
        rules = dashboards.RULES.read_text().replace(*YOUNG)
        prometheus = Prometheus(new_directory(), target, labels, rules)
        running.push_async_callback(prometheus.stop)
        await prometheus.start()
        first_burst = await live_through(prometheus, homeserver, remote)
        # Synapse before 1.135 has no such label, which to Prometheus is an empty one.
        server_name = SERVER_NAME if SERVER_NAME_LABEL else ""
        values = {"server_name": server_name, "instance": target, "bucket_size": "1m"}
        yield Watched(prometheus, {**labels, **values}, first_burst)


def test_promtool_accepts_the_rules() -> None:
    checked = promtool("check", "rules", "--lint-fatal", str(dashboards.RULES))
    assert checked.returncode == 0, checked.stdout
    assert f"{len(dashboards.rules())} rules found" in checked.stdout


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    tested = promtool("test", "rules", str(dashboards.RULE_TESTS))
    assert tested.returncode == 0, tested.stdout


@in_reactor
async def test_the_first_burst_after_a_start_is_an_increase(watched: Watched) -> None:
    """What is counted was there before, as zero; Prometheus adds up to a scrape."""
    made, increase = watched.first_burst
    assert made > 10
    assert made <= increase < 2 * made


@in_reactor
@pytest.mark.parametrize("expression", [*PANELS, *SOURCES, *SELECTORS])
async def test_what_the_dashboard_asks_for_exists(
    watched: Watched, expression: str
) -> None:
    """For the chosen server, instance, job and index; failures are zero, not absent.

    And each part by itself: an `or` would hide that a half of it is misspelt.
    """
    await watched.returns_data(expression)


@in_reactor
@pytest.mark.parametrize("record", RECORDS)
async def test_a_rule_records_what_its_expression_gives(
    watched: Watched, record: str
) -> None:
    """For this server, under the name that alerts read."""
    await watched.returns_data(RECORDS[record]["expr"])
    await watched.returns_data(f'{record}{{server_name="$server_name"}}')


@in_reactor
async def test_no_alert_fires_where_all_is_well(watched: Watched) -> None:
    rules = await until(
        watched.prometheus.rule_states,
        lambda rules: all(rule["health"] != "unknown" for rule in rules),
    )
    states = {
        rule["name"]: (rule["health"], rule["state"])
        for rule in rules
        if rule["type"] == "alerting"
    }
    assert states == dict.fromkeys(ALERTS, ("ok", "inactive"))
