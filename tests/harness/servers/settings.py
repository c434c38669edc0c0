"""The configuration of a Synapse for demonstrations and tests."""

from __future__ import annotations

import base64
import secrets
import socket
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REGISTRATION_SECRET = "only on loopback"  # noqa: S105 for throw-away servers

LOOPBACK = "127.0.0.1"

# The name of a server that has no reason for another one.
SERVER_NAME = "withheld.test"

# What is a list in `homeserver.yaml` and gets more, not other, entries.
_APPENDED = ("listeners", "modules")

_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}
_NO_LIMITS = {
    "rc_message": _UNLIMITED,
    "rc_registration": _UNLIMITED,
    "rc_login": dict.fromkeys(("address", "account", "failed_attempts"), _UNLIMITED),
    "rc_key_requests": _UNLIMITED,
    "rc_federation": {
        "window_size": 1000,
        "sleep_limit": 100_000,
        "sleep_delay": 1,
        "reject_limit": 100_000,
        "concurrent": 1000,
    },
}


# Bound, but not listening: Linux gives their ports to nobody who asks for a free one,
# while whoever names one and sets SO_REUSEADDR, as servers do, can listen there.
_reserved: list[socket.socket] = []


def reserve(count: int) -> list[int]:
    """Return ports that nobody else is given while this process runs."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind((LOOPBACK, 0))
    ports = [each.getsockname()[1] for each in sockets]
    if sys.platform == "linux":
        _reserved.extend(sockets)
    else:
        # Elsewhere nobody could listen there.
        for each in sockets:
            each.close()
    return ports


def sqlite(directory: Path) -> dict[str, Any]:
    database = str(directory / "homeserver.db")
    return {"name": "sqlite3", "args": {"database": database}}


def homeserver(
    directory: Path, server_name: str, ports: list[int], database: dict[str, Any]
) -> dict[str, Any]:
    """Return a `homeserver.yaml` that limits no rates and asks nobody outside."""
    return {
        "server_name": server_name,
        "pid_file": str(directory / "homeserver.pid"),
        "media_store_path": str(directory / "media"),
        "signing_key_path": str(directory / "signing.key"),
        "log_config": str(directory / "log.yaml"),
        "listeners": [
            listener(ports[0], "http", ["client", "federation"]),
            listener(ports[1], "metrics", ["metrics"]),
        ],
        "enable_metrics": True,
        "database": database,
        "report_stats": False,
        "registration_shared_secret": REGISTRATION_SECRET,
        "macaroon_secret_key": REGISTRATION_SECRET,
        "form_secret": REGISTRATION_SECRET,
        "bcrypt_rounds": 4,
        "presence": {"enabled": False},
        "trusted_key_servers": [],
        "suppress_key_server_warning": True,
        "federation_verify_certificates": False,
        # Who is back is believed at the next occasion. Numbers are milliseconds.
        "federation": {
            "client_timeout": "10s",
            "max_short_retries": 0,
            "max_long_retries": 0,
            "destination_min_retry_interval": 100,
            "destination_max_retry_interval": 200,
        },
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        **_NO_LIMITS,
    }


def listener(port: int, kind: str, resources: list[str]) -> dict[str, Any]:
    return {
        "port": port,
        "type": kind,
        "bind_addresses": [LOOPBACK],
        "resources": [{"names": resources, "compress": False}],
    }


def extend(config: dict[str, Any], more: dict[str, Any]) -> None:
    """Add more top-level keys to a `homeserver.yaml`.

    Listeners and modules are added to those that are there; other keys replace.
    """
    lists = {key: [*config.get(key, ()), *more.get(key, ())] for key in _APPENDED}
    config.update({**more, **lists})


def write_log_config(directory: Path, log_path: Path, level: str = "INFO") -> None:
    """Write a `log.yaml` that logs to a file, into a directory that is made."""
    directory.mkdir(parents=True, exist_ok=True)
    form = "%(asctime)s %(name)s %(levelname)s %(request)s %(message)s"
    context = "synapse.logging.context.LoggingContextFilter"
    handler = {
        "class": "logging.FileHandler",
        "filename": str(log_path),
        "formatter": "line",
        "filters": ["context"],
    }
    config = {
        "version": 1,
        "formatters": {"line": {"format": form}},
        "filters": {"context": {"()": context, "request": ""}},
        "handlers": {"file": handler},
        "root": {"level": level, "handlers": ["file"]},
        "disable_existing_loggers": False,
    }
    (directory / "log.yaml").write_text(yaml.safe_dump(config))


def write_signing_key(directory: Path) -> None:
    path = directory / "signing.key"
    if not path.exists():
        seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        path.write_text(f"ed25519 a_test {seed}\n")


@attrs.frozen
class Certificate:
    """A certificate and its private key, each as PEM."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)

    def configuration(self, directory: Path) -> dict[str, str]:
        """Write both into a directory, and return what `homeserver.yaml` needs."""
        paths = directory / "tls.crt", directory / "tls.key"
        for path, text in zip(paths, (self.certificate, self.key)):
            path.write_bytes(text)
        names = ("tls_certificate_path", "tls_private_key_path")
        return dict(zip(names, map(str, paths)))


def self_signed() -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8
    return Certificate(
        certificate.public_bytes(pem),
        key.private_bytes(pem, form, serialization.NoEncryption()),
    )
