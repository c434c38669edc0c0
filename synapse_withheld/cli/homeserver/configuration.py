"""Read configuration files as Synapse does, and find its processes in them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Iterable, Mapping

import attrs
import yaml

from synapse_withheld import config as configuration
from synapse_withheld.config import Config, InvalidConfigError

MAIN_PROCESS = "master"
MODULE = "synapse_withheld.WithheldModule"

# Where the class is as well: what Synapse can import from there works.
_NAMES = (MODULE, "synapse_withheld.module.WithheldModule")

# What Synapse looks at in an entry of `modules`.
_KEYS_OF_AN_ENTRY = ("module", "config")

_ADD_MODULE = f"add an entry '- module: {MODULE}' under 'modules:' and restart Synapse"


class ConfigProblemError(Exception):
    """The configuration is not as it should be.

    Attributes:
        found: What is wrong.
        do: What to do about it.
    """

    def __init__(self, found: str, do: str) -> None:
        super().__init__(f"{found}: {do}")
        self.found = found
        self.do = do


def add_config_argument(
    parser: argparse.ArgumentParser, what_for: str = "", *, required: bool = True
) -> None:
    """Have a command take Synapse's configuration."""
    parser.add_argument(
        "-c",
        "--config-path",
        action="append",
        default=[],
        required=required,
        type=Path,
        metavar="FILE",
        help=f"a file or directory of Synapse's configuration{what_for}; may be "
        "repeated",
    )


@attrs.frozen
class Deployment:
    """The processes that some configuration files tell of.

    Attributes:
        shared: What the main process reads.
        workers: What each worker reads, by its name.
    """

    shared: Mapping[str, Any]
    workers: Mapping[str, Mapping[str, Any]]

    @property
    def writer(self) -> str:
        """Return the name of the process that writes to-device messages.

        Raises:
            ConfigProblemError: The files name none or several.
        """
        writers = self.shared.get("stream_writers")
        named = writers.get("to_device") if isinstance(writers, dict) else None
        if named is None:
            return MAIN_PROCESS
        names = [named] if isinstance(named, str) else named
        if isinstance(names, list) and len(names) == 1:
            return str(names[0])
        raise ConfigProblemError(
            f"'stream_writers: to_device' is {named!r}", "name exactly one process"
        )

    def config_of(self, process: str) -> Mapping[str, Any] | None:
        """Return what a process reads; `None` if its file is not among them."""
        return self.shared if process == MAIN_PROCESS else self.workers.get(process)


def read(paths: Iterable[Path]) -> Deployment:
    """Read configuration files; in place of a directory all `*.yaml` in it.

    As in Synapse, a top-level key of a later file replaces that of an earlier one.
    A file that names a worker is read on top of all that do not.

    Raises:
        ConfigProblemError: A file is not what Synapse could read.
        OSError: A file cannot be read.
    """
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {}
    for given in paths:
        for path in sorted(given.glob("*.yaml")) if given.is_dir() else [given]:
            config = _read_file(path)
            name = config.get("worker_name", config.get("worker_app"))
            if name in (None, "synapse.app.homeserver"):
                shared.update(config)
            else:
                own.setdefault(str(name), {}).update(config)
    return Deployment(shared, {name: {**shared, **own[name]} for name in own})


def module_config(config: Mapping[str, Any]) -> Config:
    """Return the module's configuration in what a process reads.

    Raises:
        ConfigProblemError: The module is not there, there twice, or wrong.
    """
    return parsed(module_entry(config))


def module_entry(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the module's entry in what a process reads.

    Raises:
        ConfigProblemError: The module is not there, or there twice.
    """
    modules = config.get("modules") or []
    if not isinstance(modules, list):
        raise ConfigProblemError("'modules' is no list", _ADD_MODULE)
    ours: list[Mapping[str, Any]] = [entry for entry in modules if is_ours(entry)]
    if not ours:
        do = f"{_ADD_MODULE}; if it is in another file, give it with -c, too"
        raise ConfigProblemError("the module is not under 'modules'", do)
    if len(ours) > 1:
        raise ConfigProblemError(
            "'modules' names the module more than once", "leave one entry"
        )
    (entry,) = ours
    if entry["module"] not in _NAMES:
        raise ConfigProblemError(
            f"'modules' names {entry['module']!r}", f"name it {MODULE!r}"
        )
    return entry


def is_ours(entry: object) -> bool:
    """Say whether an entry of `modules` names something of this package."""
    name = entry.get("module") if isinstance(entry, dict) else None
    return isinstance(name, str) and name.partition(".")[0] == "synapse_withheld"


def parsed(entry: Mapping[str, Any]) -> Config:
    """Return what an entry of the module configures.

    Raises:
        ConfigProblemError: It has keys that Synapse ignores, or is wrong.
    """
    beside = [f"'{key}'" for key in entry if key not in _KEYS_OF_AN_ENTRY]
    if beside:
        raise ConfigProblemError(
            f"{', '.join(beside)} beside 'config', where Synapse ignores it",
            "indent it below 'config:', where the module's keys belong, or remove it",
        )
    try:
        # As Synapse does: whatever is empty is an empty mapping.
        return configuration.parse(entry.get("config") or {})
    except InvalidConfigError as error:
        raise ConfigProblemError(
            str(error), "correct it: Synapse does not start like this"
        ) from error


def _read_file(path: Path) -> dict[str, Any]:
    do = "correct the file: Synapse cannot read it either"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        # Not the error's own text: it may quote a secret beside the mistake.
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigProblemError(
            f"{path} is not YAML, line {line}: {error.problem}", do
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigProblemError(f"{path} is not YAML", do) from error
    # Synapse ignores a file of comments, and of anything else.
    return config if isinstance(config, dict) else {}
