"""Where a process listens, found as Synapse finds it.

Each form of listener is one of a real Synapse in the end-to-end tests.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from synapse.config.server import parse_listener_def

from synapse_withheld.cli.shared.homeserver.homeserver_yaml import ConfigProblemError
from synapse_withheld.cli.shared.homeserver.listeners import (
    NoMetricsError,
    http_addresses,
    metrics_addresses,
)

METRICS: dict[str, Any] = {"type": "metrics", "port": 9000}
CLIENT: dict[str, Any] = {
    "type": "http",
    "port": 1,
    "resources": [{"names": ["client"]}],
}
TELLING: dict[str, Any] = {
    **CLIENT,
    "port": 8008,
    "resources": [{"names": ["client", "metrics"]}],
}


def urls(config: dict[str, Any], *, worker: bool = False) -> list[str]:
    return [str(each) for each in metrics_addresses(config, worker=worker)]


def test_what_listens_everywhere_is_asked_on_loopback() -> None:
    """At every address that is named, besides."""
    some = {**METRICS, "bind_addresses": ["10.0.0.1", ""], "bind_address": "h"}
    parse_listener_def(0, copy.deepcopy(some))
    assert urls({"enable_metrics": True, "listeners": [CLIENT, some]}) == [
        f"http://{host}:9000/_synapse/metrics"
        for host in ("10.0.0.1", "127.0.0.1", "h")
    ]


def test_every_listener_is_named_once_with_its_certificate() -> None:
    """The next one may answer where the first does not."""
    with_tls = {**TELLING, "tls": True, "bind_addresses": ["::1"]}
    config: dict[str, Any] = {
        "enable_metrics": True,
        "listeners": [with_tls, METRICS, {**METRICS, "port": 9001}, METRICS],
        "tls_certificate_path": "/c.pem",
    }
    found = metrics_addresses(config, worker=False)
    expected = [(8008, "/c.pem"), (9000, ""), (9001, "")]
    assert expected == [(each.port, each.certificate) for each in found]
    found = metrics_addresses({**config, "no_tls": True}, worker=False)
    assert [9000, 9001] == [each.port for each in found]


def test_a_worker_serves_the_resource_in_any_case() -> None:
    """The main process only with metrics enabled, and no process a listener."""
    config = {"listeners": [TELLING], "worker_listeners": [TELLING]}
    assert urls(config, worker=True)
    with pytest.raises(NoMetricsError, match="'enable_metrics' is not true"):
        urls(config)
    with pytest.raises(NoMetricsError, match="'enable_metrics' is not true"):
        urls({"worker_listeners": [METRICS]}, worker=True)


def test_the_old_keys_count() -> None:
    """Of the main process, deprecated but not gone."""
    config: dict[str, Any] = {"enable_metrics": True, "metrics_port": 9092}
    assert ["http://127.0.0.1:9092/_synapse/metrics"] == urls(config)
    with pytest.raises(NoMetricsError):
        urls(config, worker=True)
    config["metrics_bind_host"] = "::1"
    assert ["http://[::1]:9092/_synapse/metrics"] == urls(config)
    # It stands in the place of all listeners.
    old = {"bind_port": 8448, "listeners": [CLIENT, METRICS], "enable_metrics": True}
    with pytest.raises(NoMetricsError):
        urls(old)
    found = http_addresses(old, "/x", worker=False)
    assert ["https://127.0.0.1:8448/x", "http://127.0.0.1:8048/x"] == [*map(str, found)]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"enable_metrics": True, "listeners": [CLIENT]},
        {"listeners": [METRICS]},
        # Synapse only warns of it.
        {"listeners": [{"type": "metrics", "path": "/s"}]},
    ],
)
def test_metrics_that_are_told_nowhere_are_told_from_mistakes(
    config: dict[str, Any],
) -> None:
    with pytest.raises(NoMetricsError, match="enable_metrics") as raised:
        urls(config)
    assert raised.value.do


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {**METRICS, "bind_addresses": None},
        {**CLIENT, "bind_addresses": None, "bind_address": "::1"},
        {**METRICS, "port": "9000"},
        {**METRICS, "path": "/s"},
        {"type": "metrics"},
        {**METRICS, "type": "metric"},
        {**CLIENT, "resources": None},
        {**CLIENT, "resources": {"names": ["client"]}},
        {**CLIENT, "resources": [{"names": "metrics"}]},
    ],
)
def test_what_synapse_does_not_start_with_is_said_as_it_says_it(entry: Any) -> None:
    """In its own words, such as they are, and with the place."""
    with pytest.raises(Exception) as synapse:  # noqa: PT011 of any kind
        parse_listener_def(0, copy.deepcopy(entry))
    config = {"enable_metrics": True, "listeners": [METRICS, entry]}
    with pytest.raises(ConfigProblemError, match="entry 2 of 'listeners'") as raised:
        urls(config)
    assert not isinstance(raised.value, NoMetricsError)
    said = raised.value.do.partition("does not start like this (")[2].rstrip(")")
    assert said in str(synapse.value)


def test_what_is_no_list_of_listeners_is_a_mistake() -> None:
    """Synapse ends at start; so it does for metrics on a socket, once enabled."""
    socket = {"type": "metrics", "path": "/s"}
    for config, says in (
        ({"listeners": METRICS}, "'listeners' is no list"),
        ({"enable_metrics": True, "listeners": [socket]}, "unix socket for metrics"),
    ):
        with pytest.raises(ConfigProblemError, match=says) as raised:
            urls(config)
        assert not isinstance(raised.value, NoMetricsError)
