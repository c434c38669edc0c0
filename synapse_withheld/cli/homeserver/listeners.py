"""Where a process of a homeserver listens, as Synapse reads it.

What Synapse does not start with is raised as a `ProblemError`.
"""

from __future__ import annotations

import copy
from typing import Any, Iterable, Mapping

import attrs

from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.homeserver.configuration import MAIN_PROCESS, Deployment
from synapse_withheld.cli.homeserver.http import Address

METRICS_PATH = "/_synapse/metrics"

_OF_WORKER = "worker_listeners"

# Where to ask what listens on every address of the machine.
_LOOPBACK = {
    "": ("127.0.0.1",),
    "0.0.0.0": ("127.0.0.1",),  # noqa: S104 asked, not listened on
    "::": ("127.0.0.1", "::1"),
}


class NoMetricsError(ProblemError):
    """A process tells its metrics nowhere; to Synapse that is all right."""


def metrics_addresses(deployment: Deployment, process: str) -> list[Address]:
    """Return where a process tells its metrics."""
    config, key = deployment.config_of(process), _key(process)
    there_for_it = [
        each
        for each in _read(config, key)
        if each.type == "metrics" or "metrics" in _resources(each)
    ]
    # A worker serves the resource whether metrics are enabled or not.
    telling = [
        each
        for each in there_for_it
        if config.get("enable_metrics") or (key == _OF_WORKER and each.type == "http")
    ]
    if telling:
        return _addresses(telling, METRICS_PATH, config)
    if there_for_it:
        raise NoMetricsError(
            "there is a listener for metrics, but 'enable_metrics' is not true",
            "set 'enable_metrics: true' and restart Synapse",
        )
    raise NoMetricsError(
        f"no listener under '{key}' tells metrics",
        f"add one under '{key}', for instance "
        "{type: metrics, port: 9000, bind_addresses: ['127.0.0.1']}, set "
        "'enable_metrics: true' and restart Synapse",
    )


def http_addresses(deployment: Deployment, process: str, path: str) -> list[Address]:
    """Return where a process serves what modules add, at a path."""
    config = deployment.config_of(process)
    listeners = _read(config, _key(process))
    serving = [each for each in listeners if each.type == "http"]
    return _addresses(serving, path, config)


def _key(process: str) -> str:
    return "listeners" if process == MAIN_PROCESS else _OF_WORKER


def _read(config: Mapping[str, Any], key: str) -> list[Any]:
    """Return the listeners of a process as Synapse's own code reads them."""
    try:
        # Not for the commands that work without Synapse.
        from synapse_withheld import synapse_internals as synapse  # noqa: PLC0415
    except ImportError as error:
        do = "run this with the Python that Synapse runs with"
        raise ProblemError(f"its listeners are not read: {error}", do) from error
    # It adds to what it is given.
    entries = copy.deepcopy(config.get(key, []))
    if not isinstance(entries, list):
        raise ProblemError(f"'{key}' is no list", "make it one")
    if config.get("metrics_port") and key != _OF_WORKER:
        # Deprecated, and not gone.
        host = config.get("metrics_bind_host", "127.0.0.1")
        resources = [{"names": ["metrics"]}]
        entry = {"type": "http", "resources": resources, "bind_addresses": [host]}
        entries.append({**entry, "port": config["metrics_port"]})
    listeners = []
    for number, entry in enumerate(entries, 1):
        try:
            listeners.append(synapse.parse_listener(number, entry))
        except synapse.UnknownSynapseError as error:  # noqa: PERF203 few
            raise ProblemError(str(error), "give --metrics-url") from error
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise ProblemError(
                f"Synapse does not start with entry {number} of '{key}'",
                f"correct it; Synapse says {said}",
            ) from error
    return listeners


def _resources(listener: Any) -> set[str]:
    options = listener.http_options
    return (
        {name for each in options.resources for name in each.names}
        if options
        else set()
    )


def _addresses(
    listeners: Iterable[Any], path: str, config: Mapping[str, Any]
) -> list[Address]:
    """Return each address once, in order."""
    found: dict[Address, None] = {}
    for each in listeners:
        socket = getattr(each, "path", None)
        if socket:
            found[Address("http", "", socket=socket, path=path)] = None
            continue
        tls = each.is_tls()
        certificate = str(config.get("tls_certificate_path") or "") if tls else ""
        address = Address("https" if tls else "http", "", each.port, path=path)
        address = attrs.evolve(address, certificate=certificate)
        for bound in each.bind_addresses:
            for host in _LOOPBACK.get(bound, (bound,)):
                found[attrs.evolve(address, host=host)] = None
    return list(found)
