"""A real Prometheus understands the rules and finds what the dashboard asks for."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable
from urllib.parse import urlsplit

import attrs
import pytest

from synapse_withheld.operators.series import SERVER_NAME_LABEL
from tests.harness import dashboards
from tests.harness.commands import program
from tests.harness.messages import ENCRYPTED, make_key, make_olm_lookalike
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.samples import DECISIONS, TIDIED, total
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.prometheus import Prometheus, promtool
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.servers.stage import Stage, Two, two_on
from tests.harness.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

# Or the whole file is skipped.
program("prometheus")

# Prometheus is younger than the hour that the day before begins with.
YOUNG = ("[1d] offset 1h", "[1d] offset 1s")

RECORDS = {each["record"]: each for each in dashboards.rules() if "record" in each}
ALERTS = [each["alert"] for each in dashboards.rules() if "alert" in each]
# What is asked: by each panel, for the values of each variable, to record, and of what
# was recorded; and each part by itself, since an `or` would hide that a half of it is
# misspelt.
ASKED = [
    *(query for _, query in dashboards.panel_queries()),
    *(
        each["definition"].split("(")[1].split(",")[0]
        for each in dashboards.variables()
        if each["type"] == "query"
    ),
    *(each["expr"] for each in RECORDS.values()),
    *(f'{record}{{server_name="$server_name"}}' for record in RECORDS),
    *sorted(
        {
            selector
            for _, expression in dashboards.expressions()
            for selector in dashboards.selectors_in(expression)
        }
    ),
]


@attrs.frozen
class Watched:
    """A Prometheus that scrapes a Synapse, and the values of the variables."""

    prometheus: Prometheus
    values: dict[str, str]


async def storm(
    prometheus: Prometheus, two: Two, outward: Outward, number: int
) -> None:
    """Send notices that deliver, collapse and supersede; wait until that is seen."""
    keys = {"sender_key": make_key(f"key {number}")}
    for _ in range(3):
        await two.send(two.notice(**keys))
        await outward.send(outward.notice(**keys))
    await two.send(make_olm_lookalike(keys["sender_key"]), ENCRYPTED)
    await two.send(two.notice(**keys))
    made = total(await two.homeserver.metrics(), DECISIONS)
    await until(lambda: prometheus.query(f"sum({DECISIONS}) == {made}"), bool)


def has_tidied_both(metrics: dict[str, float]) -> bool:
    return all(total(metrics, TIDIED, queue=each) for each in ("inbox", "outbox"))


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
        homeserver = await stage.start({"sweep": True})
        target = urlsplit(homeserver.metrics_url).netloc
        labels = {"job": "synapse", "index": "1"}
        rules = dashboards.RULES.read_text().replace(*YOUNG)
        prometheus = Prometheus(new_directory(), target, labels, rules)
        running.push_async_callback(prometheus.stop)
        await prometheus.start()
        two, outward = await two_on(homeserver), await outward_from(homeserver, remote)
        await until(lambda: prometheus.query(DECISIONS), bool)
        for number in (1, 2, 3):
            await storm(prometheus, two, outward, number)
        await until(homeserver.metrics, has_tidied_both)
        # Synapse before 1.135 has no such label, which to Prometheus is an empty one.
        server_name = SERVER_NAME if SERVER_NAME_LABEL else ""
        values = {"server_name": server_name, "instance": target, "bucket_size": "1m"}
        yield Watched(prometheus, {**labels, **values})


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("check", "rules", "--lint-fatal"), dashboards.RULES),
        # Each alert fires when it should, and only then.
        (("test", "rules"), dashboards.RULE_TESTS),
    ],
)
def test_promtool_accepts_the_rules(arguments: tuple[str, ...], file: Path) -> None:
    told = promtool(*arguments, str(file))
    assert told.returncode == 0, told.stdout


@in_reactor
@pytest.mark.parametrize("expression", ASKED)
async def test_what_is_asked_for_exists(watched: Watched, expression: str) -> None:
    """For the chosen server, instance, job and index; failures are zero, not absent."""

    def are_numbers(samples: list[dict[str, Any]]) -> bool:
        numbers = [float(sample["value"][1]) for sample in samples]
        return bool(numbers) and not any(map(math.isnan, numbers))

    text = dashboards.fill_in(expression, watched.values).replace(*YOUNG)
    await until(lambda: watched.prometheus.query(text), are_numbers)


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
