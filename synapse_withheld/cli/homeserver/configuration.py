"""Read configuration files as Synapse does, and find its processes in them.

What is not as it should be is raised as a `ProblemError`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping

import attrs
import yaml

from synapse_withheld import config as configuration
from synapse_withheld.cli.arguments import CannotSayError, ProblemError
from synapse_withheld.config import Config, InvalidConfigError

MAIN_PROCESS = "master"
MODULE = "synapse_withheld.WithheldModule"

# Where the class is as well: what Synapse can import from there works.
_NAMES = (MODULE, "synapse_withheld.module.WithheldModule")

_ADD_MODULE = f"add an entry '- module: {MODULE}' under 'modules:' and restart Synapse"


@attrs.frozen
class Deployment:
    """What the main process reads, and each worker, by its name."""

    shared: Mapping[str, Any]
    workers: Mapping[str, Mapping[str, Any]]

    @property
    def writer(self) -> str:
        """Return the name of the process that writes to-device messages."""
        writers = self.shared.get("stream_writers")
        named = writers.get("to_device") if isinstance(writers, dict) else None
        if named is None:
            return MAIN_PROCESS
        names = [named] if isinstance(named, str) else named
        if isinstance(names, list) and len(names) == 1:
            return str(names[0])
        raise ProblemError(
            f"'stream_writers: to_device' is {named!r}", "name exactly one process"
        )

    def config_of(self, process: str) -> Mapping[str, Any]:
        """Return what a process reads."""
        if process == MAIN_PROCESS:
            return self.shared
        if process not in self.workers:
            raise ProblemError(
                f"the files do not tell of {process}, which writes to-device messages",
                f"add -c with the file that has 'worker_name: {process}'",
            )
        return self.workers[process]


def read(paths: Iterable[Path]) -> Deployment:
    """Read configuration files; in place of a directory all `*.yaml` in it.

    As in Synapse, a top-level key of a later file replaces that of an earlier one.
    A file that names a worker is read on top of all that do not.
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


def find_module(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    modules = config.get("modules") or []
    if not isinstance(modules, list):
        raise ProblemError("'modules' is no list", _ADD_MODULE)
    entries = [each for each in modules if isinstance(each, dict)]
    # Whatever is named of this package is meant for the module.
    ours = [
        each
        for each in entries
        if str(each.get("module")).partition(".")[0] == "synapse_withheld"
    ]
    if len(ours) > 1:
        found = "'modules' names the module more than once"
        raise ProblemError(found, "leave one entry")
    if ours and ours[0]["module"] not in _NAMES:
        found = f"'modules' names {ours[0]['module']!r}"
        raise ProblemError(found, f"name it {MODULE!r}")
    return ours[0] if ours else None


def need_module(config: Mapping[str, Any]) -> Mapping[str, Any]:
    entry = find_module(config)
    if entry is None:
        do = f"{_ADD_MODULE}; if it is in another file, give it with -c, too"
        raise ProblemError("the module is not under 'modules'", do)
    return entry


def parsed(entry: Mapping[str, Any] | None) -> Config:
    """Return what an entry of the module configures; the default without one."""
    entry = entry or {}
    beside = [f"'{key}'" for key in entry if key not in {"module", "config"}]
    if beside:
        raise ProblemError(
            f"{', '.join(beside)} beside 'config', where Synapse ignores it",
            "indent it below 'config:', where the module's keys belong, or remove it",
        )
    try:
        # As Synapse does: whatever is empty is an empty mapping.
        return configuration.parse(entry.get("config") or {})
    except InvalidConfigError as error:
        do = "correct it: Synapse does not start like this"
        raise ProblemError(str(error), do) from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotSayError(f"Cannot read the configuration: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # Not the error's own text: it may quote a secret beside the mistake.
        mark = getattr(error, "problem_mark", None)
        found = f"{path} is not YAML{f', line {mark.line + 1}' if mark else ''}"
        do = "correct the file: Synapse cannot read it either"
        raise ProblemError(found, do) from error
    # Synapse ignores a file of comments, and of anything else.
    return config if isinstance(config, dict) else {}
