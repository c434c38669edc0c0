"""Trust the one certificate that a homeserver of this machine shows.

It is made out to the homeserver's name, and asked for on an address of this machine:
whoever knows its file needs nobody to vouch for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
@attrs.frozen
class OnlyCertificate:
    """Makes connections to whoever shows one certificate.

    Attributes:
        digest: That of the certificate.
    """

    digest: bytes

    @classmethod
    def of_file(cls, path: str) -> OnlyCertificate:
        """Read the first certificate of a file.

        Raises:
            OSError: It cannot be read.
        """
        try:
            found = crypto.load_certificate(
                crypto.FILETYPE_PEM, Path(path).read_bytes()
            )
        except crypto.Error:
            raise OSError(f"{path} is no certificate") from None
        return cls(found.digest("sha256"))

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:  # noqa: ARG002, N802 Twisted's
        """Return what connects, whatever the name."""
        return self

    def clientConnectionForTLS(self, protocol: Any) -> Any:  # noqa: ARG002, N802 Twisted's
        """Begin a connection."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, self._is_it)
        return SSL.Connection(context, None)

    def _is_it(
        self, _: Any, certificate: Any, error: int, depth: int, trusted: int
    ) -> bool:
        # Those above it in the chain say nothing that counts.
        del error, trusted
        return depth > 0 or certificate.digest("sha256") == self.digest
