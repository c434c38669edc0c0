"""Configuration files, read as Synapse reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from synapse.util.module_loader import load_module

from synapse_withheld.cli.shared.homeserver.homeserver_yaml import (
    MODULE,
    ConfigProblemError,
    module_config,
    read,
)
from synapse_withheld.config import Config

ENTRY = {"module": MODULE}


def write(directory: Path, name: str, config: Any) -> Path:
    path = directory / name
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def test_a_later_file_replaces_whole_keys(tmp_path: Path) -> None:
    """As in Synapse, lists are not joined; a directory stands for its files."""
    write(tmp_path, "b.yaml", {"modules": []})
    write(tmp_path, "a.yaml", {"modules": [ENTRY], "server_name": "a"})
    write(tmp_path, "c.yaml", "# nothing")
    write(tmp_path, "d.yaml", "- a")
    write(tmp_path, "e.txt", "no: [yaml")
    paths = [tmp_path / name for name in ("a.yaml", "b.yaml", "c.yaml", "d.yaml")]
    assert {"modules": [], "server_name": "a"} == read([tmp_path]).shared
    assert read([tmp_path]) == read(paths)


def test_a_worker_reads_its_own_file_on_top_of_the_shared_ones(tmp_path: Path) -> None:
    """Its file changes nothing for the others, wherever it stands."""
    worker = write(tmp_path, "w.yaml", {"worker_name": "w1", "modules": []})
    shared = write(tmp_path, "s.yaml", {"modules": [ENTRY], "server_name": "a"})
    deployment = read([worker, shared])
    assert deployment.config_of("master") == {"modules": [ENTRY], "server_name": "a"}
    own = {"worker_name": "w1", "modules": [], "server_name": "a"}
    assert deployment.config_of("w1") == own
    assert deployment.config_of("w2") is None


@pytest.mark.parametrize(
    ("config", "writer"),
    [
        ({"stream_writers": None}, "master"),
        ({"stream_writers": {"events": "w1"}}, "master"),
        ({"stream_writers": {"to_device": "w1"}}, "w1"),
        ({"stream_writers": {"to_device": ["w1"]}}, "w1"),
        ({"stream_writers": {"to_device": ["w1", "w2"]}}, None),
    ],
)
def test_the_writer_is_the_one_that_synapse_takes(
    tmp_path: Path, config: dict[str, Any], writer: str | None
) -> None:
    """The main process, unless `stream_writers` names another; never two."""
    deployment = read([write(tmp_path, "h.yaml", config)])
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
        read([write(tmp_path, "h.yaml", text)])
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        (None, "not under 'modules'"),
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
    # In Debian's package it is in a directory beside `homeserver.yaml`.
    assert ("give it with -c, too" in raised.value.do) == problem.startswith("not")


@pytest.mark.parametrize("config", [None, {}, [], False, "", {"mode": "observe"}])
def test_a_config_is_read_as_synapse_reads_it(config: object) -> None:
    """An empty one has no keys, whatever it is."""
    entry = {"module": MODULE, "config": config}
    _, synapse = load_module(entry, ())
    assert synapse == module_config({"modules": [entry]})
    assert (synapse == Config()) is not bool(config)
