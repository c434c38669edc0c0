"""Ask an address by HTTP, and say in words why that fails.

Where there is no answer, that is raised as an `UnreachableError`.
"""

from __future__ import annotations

import argparse
import re
import ssl
from base64 import b64encode
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from socket import AF_UNIX, socket
from typing import Callable, Iterable, NamedTuple, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

from synapse_withheld.cli.arguments import CannotSayError

# How long an answer may keep silent, in seconds.
ANSWER_WITHIN_S = 10.0

FOUND = 200
_REDIRECTED = range(300, 400)

# As nginx writes the address of a socket: `http://unix:/run/synapse.sock:/path`.
_SOCKET = re.compile(r"http://unix:(/[^:?#]+)(?::(/.*)?)?")

# Perhaps with a user and a password; in these `/` and `@` are percent-encoded.
_URL = re.compile(
    r"https?://([^/?#@]*@)?(\[[0-9a-fA-F:.]+\]|[^/?#@:\[\]]+)(:[0-9]+)?([/?][^#@]*)?"
)

# `ssl.VERIFY_X509_PARTIAL_CHAIN`, which Python 3.9 does not name: a certificate is
# trusted without those above it.
_BY_ITSELF = 0x80000

T = TypeVar("T")


class UnreachableError(CannotSayError):
    """There is no answer, or not the one that was asked for; the message says how."""


class Address(NamedTuple):
    """Where something answers by HTTP; as text it shows no user and no password.

    Attributes:
        url: It begins with `http` or `https`; a user and a password in it are sent
            with basic authentication.
        certificate: A file with the certificate that it shows; empty where that is one
            that this machine trusts, for the host's name.
    """

    url: str
    certificate: str = ""

    def __str__(self) -> str:
        return without_passwords(self.url)


def without_passwords(message: str) -> str:
    """Return a sentence that may quote addresses, without user and password."""
    return re.sub(r"(\w+://)?[^\s'\"]*@", r"\1", message)


def read_url(text: str, example: str) -> str:
    """Read an address from the command line; what is wrong names an example."""
    if on_socket := _SOCKET.fullmatch(text):
        return f"http://unix:{on_socket[1]}:{on_socket[2] or ''}"
    if not _URL.fullmatch(text):
        # It may hold a password anywhere.
        problem = f"the address does not begin like {example}"
        raise argparse.ArgumentTypeError(problem)
    return text


def get(address: Address, token: str = "") -> tuple[int, str]:
    """Return the status and the text of an answer.

    Redirects are not followed: a Matrix access token or a password would go along.
    """
    try:
        parts = urlsplit(address.url)
        headers = _headers(parts, token)
        connection, path = _connection(address, parts)
        with closing(connection):
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreachableError(f"it does not answer: {reason.rstrip('.')}") from error
    if response.status in _REDIRECTED:
        raise UnreachableError(
            f"it answers {response.status} and points elsewhere; name that"
        )
    return response.status, text


def first(
    addresses: Iterable[Address], ask: Callable[[Address], T]
) -> tuple[Address, T]:
    """Return the first address of a process that answers, and what it answers."""
    problems = []
    for address in addresses:
        try:
            return address, ask(address)
        except UnreachableError as error:  # noqa: PERF203 what follows may answer
            problems.append(f"{address}: {error}")
    raise UnreachableError("; ".join(problems))


class _OnSocket(HTTPConnection):
    path: str

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _connection(address: Address, parts: SplitResult) -> tuple[HTTPConnection, str]:
    """Return a connection that is not open yet, and what to ask for there."""
    on_socket = _SOCKET.fullmatch(address.url)
    if on_socket:
        connection = _OnSocket("localhost", timeout=ANSWER_WITHIN_S)
        connection.path = on_socket[1]
        return connection, on_socket[2] or "/"
    host, port = parts.hostname or "", parts.port
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if parts.scheme == "http":
        return HTTPConnection(host, port, timeout=ANSWER_WITHIN_S), path
    try:
        context = ssl.create_default_context(cafile=address.certificate or None)
    except OSError as error:
        problem = f"its certificate cannot be read, to know it by: {error}"
        raise UnreachableError(problem) from error
    if address.certificate:
        # A homeserver's is made out to its name, and asked for on an address of this
        # machine: whoever knows its file needs nobody to vouch for it.
        context.check_hostname = False
        context.verify_flags = ssl.VerifyFlags(_BY_ITSELF)
    return HTTPSConnection(host, port, timeout=ANSWER_WITHIN_S, context=context), path


def _headers(parts: SplitResult, token: str) -> dict[str, str]:
    if token and parts.username:
        raise UnreachableError(
            "an address with a user leaves no room for an access token; give one of "
            "the two"
        )
    if token:
        return {"Authorization": f"Bearer {token}"}
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
        said = b64encode(f"{user}:{password}".encode())
        return {"Authorization": f"Basic {said.decode()}"}
    return {}
