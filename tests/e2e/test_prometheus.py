"""A real Prometheus understands the rules and finds what the dashboard asks for."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable
from urllib.parse import urlsplit

import attrs
import pytest

from synapse_withheld.operators.series import SERVER_NAME_LABEL
from tests.harness.clients.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_olm_lookalike,
)
from tests.harness.clients.outward import Outward, outward_from
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.homeservers.stage import Stage, Two, two_on
from tests.harness.metrics import dashboards
from tests.harness.metrics.prometheus import Prometheus, promtool
from tests.harness.metrics.samples import DECISIONS, total
from tests.harness.polling import until
from tests.harness.processes.programs import program
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.together import together

if TYPE_CHECKING:
    from pathlib import Path

# Prometheus is younger than the hour that the day before begins with.
YOUNG = ("[1d] offset 1h", "[1d] offset 1s")

# How many duplicates are sent beside a message before counting those released.
TRIES_AT_ONCE = 5

PANELS = dict(dashboards.panel_queries())
RECORDS = {each["record"]: each for each in dashboards.rules() if "record" in each}
ALERTS = {each["alert"]: each for each in dashboards.rules() if "alert" in each}
SELECTORS = sorted(
    {
        selector
        for _, expression in dashboards.expressions()
        for selector in dashboards.selectors_in(expression)
    }
)


@attrs.frozen
class FirstBurst:
    """What a Synapse did first after its start, and what Prometheus makes of it."""

    decided: float
    increase: float


@attrs.frozen
class Watched:
    """A Synapse after a storm, the Prometheus that scrapes it, and its labels."""

    prometheus: Prometheus
    values: dict[str, str]
    first_burst: FirstBurst

    async def returns_data(self, expression: str) -> None:
        """Wait until the expression, filled in, gives samples that are numbers."""
        text = dashboards.fill_in(expression, self.values).replace(*YOUNG)
        await until(lambda: self.prometheus.query(text), are_numbers)


def are_numbers(samples: list[dict[str, Any]]) -> bool:
    """Tell whether there are samples, and each is a number."""
    numbers = [float(sample["value"][1]) for sample in samples]
    return bool(numbers) and not any(math.isnan(number) for number in numbers)


async def storm(two: Two, outward: Outward, number: int) -> None:
    """Send notices that deliver, collapse, supersede, and are released."""
    keys = {"sender_key": make_key(f"key {number}")}
    for _ in range(3):
        await two.send(two.notice(**keys))
        await outward.send(outward.notice(**keys))
    olm = make_olm_lookalike(keys["sender_key"], make_key("recipient"))
    await two.send(olm, ENCRYPTED)
    await two.send(two.notice(**keys))
    await overtake(two, keys)


async def overtake(two: Two, keys: dict[str, str]) -> None:
    """Send a message while a duplicate waits to be confirmed."""

    async def released() -> float:
        for number in range(TRIES_AT_ONCE):
            duplicate = two.send(two.notice(**keys))
            await together(duplicate, two.send({"number": number}, PLAIN))
        metrics = await two.homeserver.metrics()
        return total(metrics, DECISIONS, reason="released")

    before = total(await two.homeserver.metrics(), DECISIONS, reason="released")
    await until(released, lambda seen: seen > before)


async def scraped(prometheus: Prometheus, homeserver: Homeserver) -> None:
    """Wait until Prometheus has seen each decision that was made so far."""
    made = total(await homeserver.metrics(), DECISIONS)
    assert made > 0

    async def seen() -> float:
        samples = await prometheus.query(f"sum({DECISIONS})")
        return float(samples[0]["value"][1]) if samples else 0.0

    await until(seen, lambda counted: counted == made)


async def tidied(homeserver: Homeserver) -> None:
    """Wait until rows of both queues were tidied."""
    name = "synapse_withheld_tidied_rows_total"

    async def queues() -> set[str]:
        metrics = await homeserver.metrics()
        return {
            queue for queue in ("inbox", "outbox") if total(metrics, name, queue=queue)
        }

    await until(queues, lambda seen: seen == {"inbox", "outbox"})


async def live_through(
    prometheus: Prometheus, homeserver: Homeserver, remote: RemoteServer
) -> FirstBurst:
    """Raise storms until everything has happened and was scraped."""
    two = await two_on(homeserver)
    outward = await outward_from(homeserver, remote)
    await until(lambda: prometheus.query(DECISIONS), bool)
    await storm(two, outward, 1)
    await scraped(prometheus, homeserver)
    decided = total(await homeserver.metrics(), DECISIONS)
    (risen,) = await prometheus.query(f"sum(increase({DECISIONS}[1h]))")
    for number in (2, 3):
        await storm(two, outward, number)
        await scraped(prometheus, homeserver)
    await tidied(homeserver)
    return FirstBurst(decided, float(risen["value"][1]))


@pytest.fixture(scope="module")
def prometheus_is_installed() -> None:
    """Skip or fail; pytest-twisted would skip the first test only."""
    program("prometheus")


@async_yield_fixture(scope="module")
async def watched(
    prometheus_is_installed: None,  # noqa: ARG001 asked for first
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


@pytest.mark.parametrize(
    ("values", "expected"), [([], False), (["0"], True), (["1", "NaN"], False)]
)
def test_data_are_numbers(values: list[str], expected: bool) -> None:
    """Neither nothing nor a division by zero is."""
    assert are_numbers([{"value": [0.0, each]} for each in values]) is expected


def test_promtool_accepts_the_rules() -> None:
    """Their expressions, names and templates."""
    checked = promtool("check", "rules", "--lint-fatal", str(dashboards.RULES))
    assert checked.returncode == 0, checked.stdout
    assert f"{len(dashboards.rules())} rules found" in checked.stdout


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    """The cases are in docs/prometheus/synapse-withheld.test.yml."""
    tested = promtool("test", "rules", str(dashboards.RULE_TESTS))
    assert tested.returncode == 0, tested.stdout


@in_reactor
async def test_the_first_burst_after_a_start_is_an_increase(watched: Watched) -> None:
    """What is counted was there before, as zero; Prometheus adds up to a scrape."""
    first = watched.first_burst
    assert first.decided > 10
    assert first.decided <= first.increase < 2 * first.decided


@in_reactor
@pytest.mark.parametrize("title", PANELS)
async def test_a_query_of_the_dashboard_returns_data(
    watched: Watched, title: str
) -> None:
    """For the chosen server, instance, job and index; failures are zero, not absent."""
    await watched.returns_data(PANELS[title])


@in_reactor
@pytest.mark.parametrize("selector", SELECTORS)
async def test_what_is_selected_exists(watched: Watched, selector: str) -> None:
    """Each part by itself: an `or` would hide that a half of it is misspelt."""
    await watched.returns_data(selector)


@in_reactor
@pytest.mark.parametrize("record", RECORDS)
async def test_a_rule_records_what_its_expression_gives(
    watched: Watched, record: str
) -> None:
    """For this server, under the name that alerts read."""
    await watched.returns_data(RECORDS[record]["expr"])
    await watched.returns_data(f'{record}{{server_name="$server_name"}}')


@in_reactor
@pytest.mark.parametrize("alert", ALERTS)
async def test_no_alert_fires_where_all_is_well(watched: Watched, alert: str) -> None:
    """Prometheus has evaluated it, without an error."""

    async def state() -> dict[str, Any]:
        (rule,) = [
            rule
            for rule in await watched.prometheus.rule_states()
            if rule["name"] == alert
        ]
        return rule

    rule = await until(state, lambda seen: seen["health"] != "unknown")
    assert (rule["health"], rule["state"]) == ("ok", "inactive")


@in_reactor
async def test_variables_offer_what_there_is(watched: Watched) -> None:
    """The server, its instance, job and index."""
    offered = {}
    for variable in dashboards.variables():
        if variable["type"] == "query":
            asked = dashboards.label_values(variable)
            offered[variable["name"]] = await watched.prometheus.label_values(*asked)
    values = {name: watched.values[name] for name in offered}
    expected = {name: [value] if value else [] for name, value in values.items()}
    assert offered == expected
    assert len(offered) == 4
