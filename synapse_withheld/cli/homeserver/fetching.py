"""Fetch something by HTTP, and say in words why that fails."""

from __future__ import annotations

import ssl
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Callable, Iterable, TypeVar
from urllib.parse import quote

from synapse_withheld.cli.homeserver.address import Address, shown

# How long an answer may keep silent, in seconds.
ANSWER_WITHIN_S = 10.0

FOUND = 200
_REDIRECTED = range(300, 400)

# What paths and queries may have as it is.
_AS_IT_IS = "/?&=%:@!$'()*+,;~"

T = TypeVar("T")


class UnreachableError(Exception):
    """There is no answer, or not the one that was asked for; the message says how."""


def get(address: Address, token: str | None = None) -> tuple[int, str]:
    """Return the status and the text of an answer.

    Redirects are not followed: a Matrix access token or a password would go along.

    Raises:
        UnreachableError: There is none.
    """
    headers = _headers(address, token)
    connection = _connection(address)
    try:
        path = quote(address.path or "/", safe=_AS_IT_IS)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, HTTPException, UnicodeError) as error:
        reason = _reason(error, address)
        raise UnreachableError(f"it does not answer: {reason}") from error
    finally:
        connection.close()
    if response.status in _REDIRECTED:
        where = shown(response.headers.get("location", "nowhere"))
        raise UnreachableError(
            f"it answers {response.status} and points to {where}; name that"
        )
    return response.status, text


def first(
    addresses: Iterable[Address], ask: Callable[[Address], T]
) -> tuple[Address, T]:
    """Return the first address of a process that answers, and what it answers.

    Raises:
        UnreachableError: None of them does; the message names each.
    """
    problems = []
    for address in addresses:
        try:
            return address, ask(address)
        except UnreachableError as error:  # noqa: PERF203 what follows may answer
            problems.append(f"{address}: {error}")
    raise UnreachableError("; ".join(problems))


class _OnSocket(HTTPConnection):
    """Connects to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _OnlyCertificate(HTTPSConnection):
    """Connects to whoever shows one certificate.

    A homeserver's is made out to its name, and asked for on an address of this
    machine: whoever knows its file needs nobody to vouch for it.
    """

    def __init__(self, address: Address) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        timeout = ANSWER_WITHIN_S
        super().__init__(address.host, address.port, timeout=timeout, context=context)
        self._file = address.certificate
        self._expected = _first_certificate(self._file)

    def connect(self) -> None:
        super().connect()
        if self.sock.getpeercert(binary_form=True) != self._expected:
            raise OSError(f"what it shows is not the certificate of {self._file}")


def _connection(address: Address) -> HTTPConnection:
    if address.socket:
        return _OnSocket(address.socket)
    if address.certificate:
        return _OnlyCertificate(address)
    kind = HTTPConnection if address.scheme == "http" else HTTPSConnection
    return kind(address.host, address.port, timeout=ANSWER_WITHIN_S)


def _first_certificate(file: str) -> bytes:
    problem = "its certificate cannot be read, to know it by"
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    try:
        text = Path(file).read_text("ascii", "replace")
        body = text.partition(begin)[2].partition(end)[0]
        found = ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}")
    except OSError as error:
        raise UnreachableError(f"{problem}: {error}") from error
    except ValueError:
        found = b""
    if not found:
        raise UnreachableError(f"{problem}: {file} is no certificate")
    return found


def _headers(address: Address, token: str | None) -> dict[str, str]:
    if token and address.user:
        raise UnreachableError(
            "an address with a user leaves no room for an access token; give one of "
            "the two"
        )
    if token:
        return {"Authorization": f"Bearer {token}"}
    if address.user:
        said = b64encode(f"{address.user}:{address.password}".encode())
        return {"Authorization": f"Basic {said.decode()}"}
    return {}


def _reason(error: Exception, address: Address) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is none that is trusted here for {address.host}"
    text = getattr(error, "strerror", None) or str(error)
    return text.rstrip(".") or type(error).__name__
