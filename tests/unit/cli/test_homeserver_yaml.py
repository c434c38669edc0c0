"""Configuration files, read as Synapse reads them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from synapse.util.module_loader import load_module

from synapse_withheld import WithheldModule
from synapse_withheld.cli.shared.homeserver.homeserver_yaml import (
    MODULE,
    ConfigProblemError,
    module_config,
    read,
)
from synapse_withheld.config import Config

ENTRY = {"module": MODULE}


def write(directory: Path, name: str, config: Any) -> Path:
    """Write a file and return its path."""
    path = directory / name
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    return path


def test_a_later_file_replaces_whole_keys(tmp_path: Path) -> None:
    """As in Synapse, lists are not joined."""
    first = write(tmp_path, "1.yaml", {"modules": [ENTRY], "server_name": "a"})
    second = write(tmp_path, "2.yaml", {"modules": []})
    deployment = read([first, second])
    assert deployment.shared == {"modules": [], "server_name": "a"}
    assert deployment.files == (str(first), str(second))


def test_a_directory_stands_for_its_yaml_files_in_order(tmp_path: Path) -> None:
    """The later name wins."""
    write(tmp_path, "b.yaml", {"server_name": "b"})
    write(tmp_path, "a.yaml", {"server_name": "a"})
    write(tmp_path, "c.txt", "no: [yaml")
    assert read([tmp_path]).shared == {"server_name": "b"}


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
        ({}, "master"),
        ({"stream_writers": None}, "master"),
        ({"stream_writers": {"events": "w1"}}, "master"),
        ({"stream_writers": {"to_device": "w1"}}, "w1"),
        ({"stream_writers": {"to_device": ["w1"]}}, "w1"),
    ],
)
def test_the_writer_is_the_one_that_synapse_takes(
    tmp_path: Path, config: dict[str, Any], writer: str
) -> None:
    """The main process, unless `stream_writers` names another."""
    assert read([write(tmp_path, "h.yaml", config)]).writer == writer


def test_two_writers_are_a_problem(tmp_path: Path) -> None:
    """Synapse refuses them too."""
    config = {"stream_writers": {"to_device": ["w1", "w2"]}}
    deployment = read([write(tmp_path, "h.yaml", config)])
    with pytest.raises(ConfigProblemError, match="exactly one"):
        _ = deployment.writer


@pytest.mark.parametrize("text", ["a: [", "a: \0"])
def test_a_file_that_synapse_cannot_read_is_named(tmp_path: Path, text: str) -> None:
    """With what to do."""
    path = write(tmp_path, "h.yaml", text)
    with pytest.raises(ConfigProblemError, match=r"h\.yaml.*correct the file"):
        read([path])


def test_a_file_without_keys_is_ignored(tmp_path: Path) -> None:
    """As Synapse ignores it."""
    names = {"0.yaml": {"server_name": "a"}, "1.yaml": "# nothing", "2.yaml": "- a"}
    paths = [write(tmp_path, name, config) for name, config in names.items()]
    assert read(paths).shared == {"server_name": "a"}


def test_a_mistake_beside_a_secret_does_not_show_it(tmp_path: Path) -> None:
    """The line's number has to do."""
    path = write(tmp_path, "h.yaml", "a: 1\nsecret: hunter2: x\n")
    with pytest.raises(ConfigProblemError, match="line 2") as raised:
        read([path])
    assert "hunter2" not in str(raised.value)


def test_the_module_is_read_by_its_own_rules() -> None:
    """The same code as in Synapse."""
    config = module_config({"modules": [{**ENTRY, "config": {"mode": "observe"}}]})
    assert config.mode == "observe"


@pytest.mark.parametrize(
    ("modules", "problem"),
    [
        (None, "not under 'modules'"),
        ([{"module": "another.Module"}, "x", {}], "not under 'modules'"),
        ({"module": MODULE}, "no list"),
        ([ENTRY, ENTRY], "more than once"),
        ([{"module": "synapse_withheld.Withheld"}], r"'synapse_withheld\.Withheld'"),
        ([{**ENTRY, "config": {"mod": "x"}}], "'mod' is no known key"),
        ([{**ENTRY, "config": {"mode": "x"}}], "'mode' must be"),
        ([{**ENTRY, "mode": "observe"}], "'mode' beside 'config'"),
        ([{**ENTRY, "a": 1, "config": {}, "b": 2}], "'a', 'b' beside 'config'"),
    ],
)
def test_a_wrong_entry_is_said_to_be_wrong(modules: object, problem: str) -> None:
    """With what was found."""
    with pytest.raises(ConfigProblemError, match=problem) as raised:
        module_config({"modules": modules})
    assert raised.value.do


@pytest.mark.parametrize("name", [MODULE, "synapse_withheld.module.WithheldModule"])
def test_every_name_that_synapse_can_import_is_right(name: str) -> None:
    """The class is in both places."""
    module, _, attribute = name.rpartition(".")
    assert WithheldModule is getattr(import_module(module), attribute)
    assert Config() == module_config({"modules": [{"module": name}]})


@pytest.mark.parametrize("config", [None, {}, [], False, ""])
def test_an_empty_config_is_one_without_keys(config: object) -> None:
    """Synapse hands the module an empty mapping then."""
    entry = {"module": MODULE, "config": config}
    _, synapse = load_module(entry, ())
    assert synapse == module_config({"modules": [entry]}) == Config()
