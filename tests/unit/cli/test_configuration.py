"""Configuration files and the listeners in them, read as Synapse reads them.

Each form of listener is one of a real Synapse in the end-to-end tests.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from synapse.config.server import parse_listener_def
from synapse.util.module_loader import load_module

from synapse_withheld.cli.homeserver.configuration import (
    MODULE,
    ConfigProblemError,
    module_config,
    read,
)
from synapse_withheld.cli.homeserver.listeners import (
    NoMetricsError,
    http_addresses,
    metrics_addresses,
)
from synapse_withheld.config import Config
from tests.unit.cli.conftest import write

ENTRY = {"module": MODULE}
METRICS: dict[str, Any] = {"type": "metrics", "port": 9000}
HTTP: dict[str, Any] = {"type": "http", "port": 8008}
CLIENT = {**HTTP, "resources": [{"names": ["client"]}]}
TELLING = {**HTTP, "resources": [{"names": ["client", "metrics"]}]}
ON_SOCKET = {"type": "metrics", "path": "/s"}


def written(directory: Path, **configs: Any) -> list[Path]:
    """Write files of configuration, by their names."""
    return [
        Path(write(directory, config, f"{name}.yaml"))
        for name, config in configs.items()
    ]


def test_a_later_file_replaces_whole_keys(tmp_path: Path) -> None:
    """As in Synapse, lists are not joined; a directory stands for its files."""
    b, a, *others = written(
        tmp_path,
        b={"modules": []},
        a={"modules": [ENTRY], "server_name": "a"},
        c="# nothing",
        d="- a",
    )
    (tmp_path / "e.txt").write_text("no: [yaml")
    assert {"modules": [], "server_name": "a"} == read([tmp_path]).shared
    assert read([tmp_path]) == read([a, b, *others])


def test_a_worker_reads_its_own_file_on_top_of_the_shared_ones(tmp_path: Path) -> None:
    """Its file changes nothing for the others, wherever it stands."""
    shared = {"modules": [ENTRY], "server_name": "a"}
    own = {"worker_name": "w1", "modules": []}
    deployment = read(written(tmp_path, w=own, s=shared))
    expected = [shared, {**shared, **own}, None]
    assert expected == [deployment.config_of(name) for name in ("master", "w1", "w2")]


@pytest.mark.parametrize(
    ("writers", "writer"),
    [
        (None, "master"),
        ({"events": "w1"}, "master"),
        ({"to_device": "w1"}, "w1"),
        ({"to_device": ["w1"]}, "w1"),
        ({"to_device": ["w1", "w2"]}, None),
    ],
)
def test_the_writer_is_the_one_that_synapse_takes(
    tmp_path: Path, writers: Any, writer: str | None
) -> None:
    """The main process, unless `stream_writers` names another; never two."""
    deployment = read(written(tmp_path, h={"stream_writers": writers}))
    if writer:
        assert writer == deployment.writer
    else:
        with pytest.raises(ConfigProblemError, match="exactly one"):
            _ = deployment.writer


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", r"h\.yaml is not YAML, line 1"),
        ("a: 1\nsecret: hunter2: x\n", "line 2"),
    ],
)
def test_a_file_that_synapse_cannot_read_is_named(
    tmp_path: Path, text: str, says: str
) -> None:
    """With the line and what to do, and without a secret beside the mistake."""
    with pytest.raises(ConfigProblemError, match=f"{says}.*correct the file") as raised:
        read(written(tmp_path, h=text))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        # In Debian's package it is in a directory beside `homeserver.yaml`.
        (None, "not under 'modules'.* give it with -c, too"),
        ([{"module": "another.Module"}, "x", {}], "not under 'modules'"),
        ({"module": MODULE}, "no list"),
        ([ENTRY, ENTRY], "more than once"),
        ([{"module": "synapse_withheld.Withheld"}], r"'synapse_withheld\.Withheld'"),
        ([{**ENTRY, "config": {"mode": "x"}}], "'mode' must be"),
        ([{**ENTRY, "a": 1, "config": {}, "b": 2}], "'a', 'b' beside 'config'"),
    ],
)
def test_a_wrong_entry_is_said_to_be_wrong(modules: object, problem: str) -> None:
    with pytest.raises(ConfigProblemError, match=problem) as raised:
        module_config({"modules": modules})
    assert raised.value.do


@pytest.mark.parametrize("config", [None, {}, [], False, "", {"mode": "observe"}])
def test_a_config_is_read_as_synapse_reads_it(config: object) -> None:
    """An empty one has no keys, whatever it is; and the class has two names."""
    entry = {"module": "synapse_withheld.module.WithheldModule", "config": config}
    _, synapse = load_module(entry, ())
    assert synapse == module_config({"modules": [entry]})
    assert (synapse == Config()) is not bool(config)


@pytest.mark.parametrize(
    ("config", "worker", "expected"),
    [
        # What listens everywhere is asked on loopback; others at each address.
        (
            {
                "listeners": [
                    CLIENT,
                    {**METRICS, "bind_addresses": ["::1", ""], "bind_address": "h"},
                ]
            },
            False,
            "http://[::1]:9000 http://127.0.0.1:9000 http://h:9000",
        ),
        # Each once, and those with TLS unless that is off.
        (
            {"listeners": [{**TELLING, "tls": True}, METRICS, METRICS], "no_tls": True},
            False,
            "http://127.0.0.1:9000",
        ),
        # A worker serves the resource whether metrics are enabled or not.
        (
            {"worker_listeners": [TELLING], "enable_metrics": False},
            True,
            "http://127.0.0.1:8008 http://[::1]:8008",
        ),
        # Deprecated, and not gone.
        ({"metrics_port": 9092}, False, "http://127.0.0.1:9092"),
        ({"metrics_port": 1, "metrics_bind_host": "::1"}, False, "http://[::1]:1"),
    ],
)
def test_metrics_are_told_where_synapse_tells_them(
    config: dict[str, Any], worker: bool, expected: str
) -> None:
    found = metrics_addresses({"enable_metrics": True, **config}, worker=worker)
    urls = [f"{each}/_synapse/metrics" for each in expected.split()]
    assert urls == [str(each) for each in found]


def test_the_old_key_of_clients_stands_in_the_place_of_all_listeners() -> None:
    """With TLS, and its certificate, beside one without."""
    old = {"bind_port": 8448, "listeners": [CLIENT], "tls_certificate_path": "/c.pem"}
    found = http_addresses(old, "/x", worker=False)
    assert [
        ("https://127.0.0.1:8448/x", "/c.pem"),
        ("http://127.0.0.1:8048/x", ""),
    ] == [(str(each), each.certificate) for each in found]


OFF = "'enable_metrics' is not true"
NO_LISTENER = "no listener under '(worker_)?listeners' tells metrics"


@pytest.mark.parametrize(
    ("config", "worker", "says"),
    [
        ({}, False, NO_LISTENER),
        ({"enable_metrics": True, "listeners": [CLIENT]}, False, NO_LISTENER),
        ({"listeners": [METRICS]}, False, OFF),
        ({"listeners": [TELLING]}, False, OFF),
        ({"worker_listeners": [METRICS]}, True, OFF),
        # Synapse only warns of it.
        ({"listeners": [ON_SOCKET]}, False, OFF),
        ({"metrics_port": 9092, "enable_metrics": True}, True, NO_LISTENER),
    ],
)
def test_metrics_that_are_told_nowhere_are_told_from_mistakes(
    config: dict[str, Any], worker: bool, says: str
) -> None:
    with pytest.raises(NoMetricsError, match=says) as raised:
        metrics_addresses(config, worker=worker)
    assert "'enable_metrics: true'" in raised.value.do


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
        {**HTTP, "resources": None},
        {**HTTP, "resources": {"names": ["client"]}},
        {**HTTP, "resources": [{"names": "metrics"}]},
    ],
)
def test_what_synapse_does_not_start_with_is_said_as_it_says_it(entry: Any) -> None:
    """In its own words, such as they are, and with the place."""
    with pytest.raises(Exception) as synapse:  # noqa: PT011 of any kind
        parse_listener_def(0, copy.deepcopy(entry))
    said = refused({"listeners": [METRICS, entry]}, "entry 2 of 'listeners'")
    assert said in str(synapse.value)


def test_what_is_no_list_of_listeners_is_a_mistake() -> None:
    """So are metrics on a socket, once enabled: Synapse ends at start."""
    refused({"listeners": METRICS}, "'listeners' is no list")
    refused({"listeners": [ON_SOCKET]}, "unix socket for metrics")


def refused(config: dict[str, Any], says: str) -> str:
    """See that a configuration is a mistake; return what Synapse is said to say."""
    with pytest.raises(ConfigProblemError, match=says) as raised:
        metrics_addresses({"enable_metrics": True, **config}, worker=False)
    assert not isinstance(raised.value, NoMetricsError)
    return raised.value.do.partition("does not start like this (")[2].rstrip(")")
