"""Make certificates that nobody but their maker vouches for."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


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
