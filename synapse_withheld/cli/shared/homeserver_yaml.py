"""Read configuration files as Synapse does, and find its processes in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Mapping

import attrs
import yaml

from synapse_withheld import config as configuration
from synapse_withheld.config import Config, InvalidConfigError

MAIN_PROCESS = "master"
MODULE = "synapse_withheld.WithheldModule"
METRICS_PATH = "/_synapse/metrics"

# Addresses to listen on that stand for every address of the machine.
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 compared with, not listened on

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


@attrs.frozen
class Deployment:
    """The processes that some configuration files tell of.

    Attributes:
        files: The names of the files, in order.
        shared: What the main process reads.
        workers: What each worker reads, by its name.
    """

    files: tuple[str, ...]
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
        if process == MAIN_PROCESS:
            return self.shared
        return self.workers.get(process)


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
    files = tuple(_files(paths))
    for path in files:
        config = _read_file(path)
        name = config.get("worker_name", config.get("worker_app"))
        if name in (None, "synapse.app.homeserver"):
            shared.update(config)
        else:
            own.setdefault(str(name), {}).update(config)
    workers = {name: {**shared, **config} for name, config in own.items()}
    return Deployment(tuple(map(str, files)), shared, workers)


def module_config(config: Mapping[str, Any]) -> Config:
    """Return the module's configuration in what a process reads.

    Raises:
        ConfigProblemError: The module is not there, there twice, or wrong.
    """
    modules = config.get("modules") or []
    if not isinstance(modules, list):
        raise ConfigProblemError("'modules' is no list", _ADD_MODULE)
    ours = [entry for entry in modules if _is_ours(entry)]
    if not ours:
        raise ConfigProblemError("the module is not under 'modules'", _ADD_MODULE)
    if len(ours) > 1:
        raise ConfigProblemError(
            "'modules' names the module more than once", "leave one entry"
        )
    if ours[0]["module"] != MODULE:
        raise ConfigProblemError(
            f"'modules' names {ours[0]['module']!r}", f"name it {MODULE!r}"
        )
    try:
        return configuration.parse(ours[0].get("config"))
    except InvalidConfigError as error:
        raise ConfigProblemError(
            str(error), "correct it: Synapse does not start like this"
        ) from error


def metrics_url(config: Mapping[str, Any], *, worker: bool) -> str:
    """Return where a process tells its metrics.

    Args:
        config: What the process reads.
        worker: Whether it is a worker.

    Raises:
        ConfigProblemError: It tells them nowhere.
    """
    key = "worker_listeners" if worker else "listeners"
    listeners = config.get(key)
    found = [
        _url(listener)
        for listener in (listeners if isinstance(listeners, list) else [])
        if isinstance(listener, dict) and _tells_metrics(listener)
    ]
    if not worker and config.get("metrics_port"):
        host = config.get("metrics_bind_host", "127.0.0.1")
        found.append(_url({"port": config["metrics_port"], "bind_address": host}))
    if not found:
        raise ConfigProblemError(
            f"no listener under '{key}' is of type 'metrics'",
            f"add one under '{key}', for instance "
            "{type: metrics, port: 9000, bind_addresses: ['127.0.0.1']}, set "
            "'enable_metrics: true' and restart Synapse",
        )
    if config.get("enable_metrics") is not True:
        raise ConfigProblemError(
            "there is a listener for metrics, but 'enable_metrics' is not true",
            "set 'enable_metrics: true' and restart Synapse",
        )
    return found[0]


def _files(paths: Iterable[Path]) -> Iterable[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob("*.yaml"))
        else:
            yield path


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


def _is_ours(entry: object) -> bool:
    name = entry.get("module") if isinstance(entry, dict) else None
    return isinstance(name, str) and name.partition(".")[0] == "synapse_withheld"


def _tells_metrics(listener: dict[str, Any]) -> bool:
    if not isinstance(listener.get("port"), int):
        return False
    if listener.get("type") == "metrics":
        return True
    return any(
        "metrics" in resource.get("names", ())
        for resource in listener.get("resources", ())
    )


def _url(listener: dict[str, Any]) -> str:
    addresses = [*listener.get("bind_addresses", ()), listener.get("bind_address", "")]
    host = "127.0.0.1" if addresses[0] in _EVERYWHERE else str(addresses[0])
    if ":" in host:
        host = f"[{host}]"
    scheme = "https" if listener.get("tls") else "http"
    return f"{scheme}://{host}:{listener['port']}{METRICS_PATH}"
