"""Where a process of a homeserver listens, as Synapse reads it."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

import attrs

from synapse_withheld.cli.homeserver.address import Address
from synapse_withheld.cli.homeserver.configuration import ConfigProblemError

METRICS_PATH = "/_synapse/metrics"

_HTTP, _METRICS, _MANHOLE = "http", "metrics", "manhole"

# Where to ask what listens on every address of the machine.
_LOOPBACK = {
    "": ("127.0.0.1",),
    "0.0.0.0": ("127.0.0.1",),  # noqa: S104 asked, not listened on
    "::": ("127.0.0.1", "::1"),
}

# What Synapse listens on where nothing is said.
_ALL, _ALL_IPV4 = ("::", "0.0.0.0"), ("0.0.0.0",)  # noqa: S104 read, not listened on

# As long as there was one for clients without TLS beside that with it.
_PORTS_APART = 400


class NoMetricsError(ConfigProblemError):
    """A process tells its metrics nowhere; to Synapse that is all right."""


@attrs.frozen
class Listener:
    """One entry.

    Attributes:
        kind: `http`, `metrics` or `manhole`.
        addresses: Where to ask it, without a path.
        resources: What it serves, where its kind is `http`.
    """

    kind: str
    addresses: tuple[Address, ...]
    resources: frozenset[str] = frozenset()


def metrics_addresses(config: Mapping[str, Any], *, worker: bool) -> list[Address]:
    """Return where a process tells its metrics, given what it reads.

    Raises:
        NoMetricsError: It tells them nowhere.
        ConfigProblemError: Synapse does not start with such listeners.
    """
    there_for_it = [
        each
        for each in _read(config, worker=worker)
        if each.kind == _METRICS or "metrics" in each.resources
    ]
    enabled = bool(config.get("enable_metrics"))
    # A worker serves the resource whether metrics are enabled or not.
    telling = [each for each in there_for_it if enabled or (worker and each.resources)]
    if telling:
        return _at(METRICS_PATH, telling)
    if there_for_it:
        raise NoMetricsError(
            "there is a listener for metrics, but 'enable_metrics' is not true",
            "set 'enable_metrics: true' and restart Synapse",
        )
    key = _key(worker=worker)
    raise NoMetricsError(
        f"no listener under '{key}' tells metrics",
        f"add one under '{key}', for instance "
        "{type: metrics, port: 9000, bind_addresses: ['127.0.0.1']}, set "
        "'enable_metrics: true' and restart Synapse",
    )


def http_addresses(
    config: Mapping[str, Any], path: str, *, worker: bool
) -> list[Address]:
    """Return where a process serves what modules add, at a path.

    Raises:
        ConfigProblemError: Synapse does not start with such listeners.
    """
    listeners = _read(config, worker=worker)
    return _at(path, [each for each in listeners if each.kind == _HTTP])


def _read(config: Mapping[str, Any], *, worker: bool) -> list[Listener]:
    key = _key(worker=worker)
    entries = config.get(key, [])
    if not isinstance(entries, list):
        raise _refused(f"'{key}'", "is no list", "Expected a list")
    certificate = str(config.get("tls_certificate_path") or "")
    listeners = [
        _listener(entry, f"entry {number} of '{key}'", config, certificate)
        for number, entry in enumerate(entries, 1)
        if worker or not (config.get("no_tls") and _is_tls(entry))
    ]
    return listeners if worker else _with_old_keys(config, certificate, listeners)


def _listener(
    entry: object, where: str, config: Mapping[str, Any], certificate: str
) -> Listener:
    if not isinstance(entry, dict):
        raise _refused(where, "is no mapping", "Expected a dictionary")
    kind, port, path = entry.get("type"), entry.get("port"), entry.get("path")
    if kind not in (_HTTP, _METRICS, _MANHOLE):
        raise _refused(where, "has no 'type' that Synapse knows", "type")
    if port is not None and not isinstance(port, int):
        raise _refused(where, "has a 'port' that is no number", "'port'")
    if port and path:
        both = "both a UNIX socket and an IP/port"
        raise _refused(where, "has 'port' and 'path'", both)
    if port is None and path is None:
        neither = "either a UNIX socket or an IP/port"
        raise _refused(where, "has neither 'port' nor 'path'", neither)
    resources = _resources(entry, where) if kind == _HTTP else frozenset()
    if not path:
        hosts = _hosts(entry, where, kind)
        addresses = _on_port(hosts, port or 0, certificate if _is_tls(entry) else None)
        return Listener(kind, addresses, resources)
    if kind == _HTTP:
        return Listener(kind, (Address("http", "", socket=str(path)),), resources)
    if kind == _METRICS and not config.get("enable_metrics"):
        return Listener(kind, ())
    raise _refused(where, "has a 'path'", f"Can not use a unix socket for {kind}")


def _hosts(entry: dict[str, Any], where: str, kind: str) -> Iterable[str]:
    hosts = entry.get("bind_addresses", [])
    if hosts is None:
        adds = "append" if entry.get("bind_address") or kind == _METRICS else "extend"
        problem = "has nothing behind 'bind_addresses:'"
        raise _refused(where, problem, f"'NoneType' object has no attribute '{adds}'")
    if not isinstance(hosts, list):
        raise _refused(where, "has no list in 'bind_addresses'", "'bind_addresses'")
    if entry.get("bind_address"):
        hosts = [*hosts, entry["bind_address"]]
    return map(str, hosts or (_ALL_IPV4 if kind == _METRICS else _ALL))


def _resources(entry: dict[str, Any], where: str) -> frozenset[str]:
    nothing = "'NoneType' object is not iterable"
    resources = entry.get("resources", [])
    if resources is None:
        raise _refused(where, "has nothing behind 'resources:'", nothing)
    found: set[str] = set()
    for each in resources if isinstance(resources, list) else [None]:
        if not isinstance(each, dict):
            problem = "has something else in 'resources' than mappings"
            raise _refused(where, problem, "must be a mapping")
        names = each.get("names", [])
        if names is None:
            raise _refused(where, "has nothing behind 'names:'", nothing)
        if not isinstance(names, list):
            problem = "has no list in 'names'"
            raise _refused(where, problem, "Unknown listener resource")
        found.update(map(str, names))
    return frozenset(found)


def _on_port(
    hosts: Iterable[str], port: int, certificate: str | None
) -> tuple[Address, ...]:
    """Return what listens on a port; with a certificate it speaks TLS."""
    scheme = "http" if certificate is None else "https"
    return tuple(
        Address(scheme, each, port, certificate=certificate or "")
        for host in hosts
        for each in _LOOPBACK.get(host, (host,))
    )


def _with_old_keys(
    config: Mapping[str, Any], certificate: str, listeners: list[Listener]
) -> list[Listener]:
    """Return what deprecated keys of the main process make of its listeners."""
    port = config.get("bind_port")
    if port:
        # It stands in the place of all of them.
        host = [str(config.get("bind_host", ""))]
        without_tls = config.get("unsecure_port", port - _PORTS_APART)
        plain = _on_port(host, without_tls, None) if without_tls else ()
        listeners = [Listener(_HTTP, _on_port(host, port, certificate) + plain)]
    port = config.get("metrics_port")
    if not port:
        return listeners
    host = [str(config.get("metrics_bind_host", "127.0.0.1"))]
    telling = Listener(_HTTP, _on_port(host, port, None), frozenset({"metrics"}))
    return [*listeners, telling]


def _at(path: str, listeners: Iterable[Listener]) -> list[Address]:
    """Return each address once, in order."""
    found = [
        attrs.evolve(address, path=path)
        for listener in listeners
        for address in listener.addresses
    ]
    return list(dict.fromkeys(found))


def _key(*, worker: bool) -> str:
    return "worker_listeners" if worker else "listeners"


def _is_tls(entry: object) -> bool:
    return isinstance(entry, dict) and bool(entry.get("tls"))


def _refused(where: str, problem: str, said: str) -> ConfigProblemError:
    return ConfigProblemError(
        f"{where} {problem}", f"correct it: Synapse does not start like this ({said})"
    )
