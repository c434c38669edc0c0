"""The configuration of a Synapse for demonstrations and tests."""

from __future__ import annotations

import socket
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tests.harness.messages import make_key

LOOPBACK = "127.0.0.1"

# The name of a server that has no reason for another one.
SERVER_NAME = "withheld.test"

_LOGINS = ("address", "account", "failed_attempts")
_UNLIMITED = {"per_second": 100_000, "burst_count": 100_000}

LOGGING = """\
version: 1
formatters:
  line: {{format: "%(asctime)s %(name)s %(levelname)s %(request)s %(message)s"}}
handlers:
  file: {{class: logging.FileHandler, filename: "{path}", formatter: line}}
root: {{level: INFO, handlers: [file]}}
disable_existing_loggers: false
"""

# Bound, but not listening: Linux gives their ports to nobody who asks for a free one,
# while whoever names one and sets SO_REUSEADDR, as servers do, can listen there.
_reserved: list[socket.socket] = []


def reserve(count: int) -> list[int]:
    """Return ports that nobody else is given while this process runs."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.bind((LOOPBACK, 0))
    # Elsewhere nobody could listen there as long as they are bound.
    _reserved.extend(sockets if sys.platform == "linux" else ())
    return [each.getsockname()[1] for each in sockets]


def homeserver(
    directory: Path, server_name: str, ports: list[int], database: dict[str, Any]
) -> dict[str, Any]:
    """Return a `homeserver.yaml` that limits no rates and asks nobody outside."""
    return {
        "server_name": server_name,
        "signing_key": f"ed25519 a_test {make_key(str(directory))}",
        "log_config": str(directory / "log.yaml"),
        "listeners": [
            listener(ports[0], "http", ["client", "federation"]),
            listener(ports[1], "metrics", ["metrics"]),
        ],
        "enable_metrics": True,
        "database": database,
        "modules": [],
        "report_stats": False,
        "enable_registration": True,
        "enable_registration_without_verification": True,
        "bcrypt_rounds": 4,
        "presence": {"enabled": False},
        "trusted_key_servers": [],
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
        "rc_message": _UNLIMITED,
        "rc_registration": _UNLIMITED,
        "rc_login": dict.fromkeys(_LOGINS, _UNLIMITED),
        "rc_key_requests": _UNLIMITED,
        "rc_federation": {"sleep_limit": 100_000, "concurrent": 1000},
    }


def listener(port: int, kind: str, resources: list[str]) -> dict[str, Any]:
    return {
        "port": port,
        "type": kind,
        "bind_addresses": [LOOPBACK],
        "resources": [{"names": resources, "compress": False}],
    }


def self_signed() -> bytes:
    """Return a certificate and its private key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.now(timezone.utc), timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM) + secret


def over_tls(directory: Path) -> dict[str, str]:
    """Make a certificate, and return what `homeserver.yaml` needs."""
    file = directory / "tls.pem"
    file.write_bytes(self_signed())
    return {"tls_certificate_path": str(file), "tls_private_key_path": str(file)}
