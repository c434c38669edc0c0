"""Where a process of a homeserver listens, as Synapse reads it.

What Synapse does not start with is raised as a `ProblemError`.
"""

from __future__ import annotations

import copy
from typing import Any, Iterable, Mapping

from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.homeserver.configuration import MAIN_PROCESS, Deployment
from synapse_withheld.cli.homeserver.http import Address

METRICS_PATH = "/_synapse/metrics"

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

    def tells(listener: Any) -> bool:
        options = listener.http_options
        resources = options.resources if options else []
        if any("metrics" in each.names for each in resources):
            # A worker serves the resource whether metrics are enabled or not.
            return bool(config.get("enable_metrics") or process != MAIN_PROCESS)
        return bool(listener.type == "metrics" and config.get("enable_metrics"))

    telling = [each for each in _read(config, key) if tells(each)]
    if not telling:
        raise NoMetricsError(
            f"no listener under '{key}' tells metrics",
            f"set 'enable_metrics: true', add one under '{key}', for instance "
            "{type: metrics, port: 9000, bind_addresses: ['127.0.0.1']}, and restart "
            "Synapse",
        )
    return _addresses(telling, METRICS_PATH, config)


def http_addresses(deployment: Deployment, process: str, path: str) -> list[Address]:
    """Return where a process serves what modules add, at a path."""
    config = deployment.config_of(process)
    listeners = _read(config, _key(process))
    serving = [each for each in listeners if each.type == "http"]
    return _addresses(serving, path, config)


def _key(process: str) -> str:
    return "listeners" if process == MAIN_PROCESS else "worker_listeners"


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
    port = config.get("metrics_port")
    try:
        listeners = [synapse.parse_listener(*each) for each in enumerate(entries, 1)]
        if port and key == "listeners":
            # Deprecated, and not gone.
            host = config.get("metrics_bind_host", "127.0.0.1")
            entry = {"type": "metrics", "port": port, "bind_addresses": [host]}
            listeners.append(synapse.parse_listener(0, entry))
    except synapse.UnknownSynapseError as error:
        raise ProblemError(str(error), "give --metrics-url") from error
    except Exception as error:
        raise ProblemError(
            f"Synapse does not start with its '{key}'",
            f"correct them; Synapse says {type(error).__name__}: {error}",
        ) from error
    return listeners


def _addresses(
    listeners: Iterable[Any], path: str, config: Mapping[str, Any]
) -> list[Address]:
    """Return each address once, in order."""
    found = []
    for each in listeners:
        if getattr(each, "path", None):
            found.append(Address(f"http://unix:{each.path}:{path}"))
            continue
        tls = each.is_tls()
        certificate = str(config.get("tls_certificate_path") or "") if tls else ""
        for bound in each.bind_addresses:
            for host in _LOOPBACK.get(bound, (bound,)):
                at = f"[{host}]" if ":" in host else host
                url = f"http{'s' * tls}://{at}:{each.port}{path}"
                found.append(Address(url, certificate))
    return list(dict.fromkeys(found))
