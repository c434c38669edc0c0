"""Ask an address by HTTP, and say in words why that fails.

Where there is no answer, that is raised as an `UnreachableError`.
"""

from __future__ import annotations

import argparse
import re
import ssl
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Callable, Iterable, TypeVar
from urllib.parse import unquote, urlsplit

import attrs

from synapse_withheld.cli.arguments import CannotSayError

# How long an answer may keep silent, in seconds.
ANSWER_WITHIN_S = 10.0

FOUND = 200
_REDIRECTED = range(300, 400)

# As nginx writes the address of a socket: `http://unix:/run/synapse.sock:/path`.
_SOCKET = re.compile(r"http://unix:(?P<socket>/[^:?#]+)(?P<path>:/.*|:?)")

# `ssl.VERIFY_X509_PARTIAL_CHAIN`, which Python 3.9 does not name: a certificate is
# trusted without those above it.
_BY_ITSELF = 0x80000

T = TypeVar("T")


class UnreachableError(CannotSayError):
    """There is no answer, or not the one that was asked for; the message says how."""


@attrs.frozen
class Address:
    """Where something answers by HTTP; as text it shows no user and no password.

    Attributes:
        host: A name or an IP address, without brackets; empty for a socket.
        socket: The path of a unix socket, instead of host and port.
        path: What is asked for there, with a slash before it; may be empty.
        user: Who to be there, with HTTP's basic authentication.
        certificate: The file of the one certificate that it shows; empty where it is
            one that this machine trusts, for the host's name.
    """

    scheme: str
    host: str
    port: int | None = None
    socket: str = ""
    path: str = ""
    user: str = ""
    password: str = attrs.field(default="", repr=False)
    certificate: str = ""

    @classmethod
    def of(cls, text: str) -> Address:
        """Read an address; raise a `ValueError` where it is none."""
        on_socket = _SOCKET.fullmatch(text)
        if on_socket:
            path = on_socket["path"].lstrip(":")
            return cls("http", "", socket=on_socket["socket"], path=path)
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("no address of HTTP")
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if "@" in f"{path}{parts.fragment}":
            # It ends a password with a slash in it, which would be shown as the path.
            raise ValueError("no address of HTTP: a password is percent-encoded")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        host, port = parts.hostname, parts.port
        return cls(parts.scheme, host, port, "", path, user, password)

    def __str__(self) -> str:
        if self.socket:
            return f"http://unix:{self.socket}" + (f":{self.path}" * bool(self.path))
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def without_passwords(message: str) -> str:
    """Return a sentence that may quote addresses, without user and password."""
    return re.sub(r"(\w+://)?[^\s'\"]*@", r"\1", message)


def read_address(text: str, example: str) -> Address:
    """Read an address from the command line; what is wrong names an example."""
    try:
        return Address.of(text)
    except ValueError:
        # It may hold a password anywhere.
        problem = f"the address does not begin like {example}"
        raise argparse.ArgumentTypeError(problem) from None


def get(address: Address, token: str = "") -> tuple[int, str]:
    """Return the status and the text of an answer.

    Redirects are not followed: a Matrix access token or a password would go along.
    """
    headers = _headers(address, token)
    connection = _connection(address)
    try:
        connection.request("GET", address.path or "/", headers=headers)
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except (OSError, HTTPException, UnicodeError) as error:
        raise UnreachableError(f"it does not answer: {_reason(error)}") from error
    finally:
        connection.close()
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
    """Connects to a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket(AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection(address: Address) -> HTTPConnection:
    host, port, within = address.host, address.port, ANSWER_WITHIN_S
    if address.socket:
        return _OnSocket(address.socket)
    if address.scheme == "http":
        return HTTPConnection(host, port, timeout=within)
    context = ssl.create_default_context()
    if address.certificate:
        context = _trusting(address.certificate)
    return HTTPSConnection(host, port, timeout=within, context=context)


def _trusting(file: str) -> ssl.SSLContext:
    """Trust whoever shows the first certificate of a file, and nobody else.

    A homeserver's is made out to its name, and asked for on an address of this
    machine: whoever knows its file needs nobody to vouch for it.
    """
    try:
        text = Path(file).read_text("ascii", "replace")
        own, end, _ = text.partition("-----END CERTIFICATE-----")
        context = ssl.create_default_context(cadata=f"{own}{end}\n")
    except OSError as error:
        problem = f"its certificate cannot be read, to know it by: {error}"
        raise UnreachableError(problem) from error
    context.check_hostname = False
    context.verify_flags = ssl.VerifyFlags(_BY_ITSELF)
    return context


def _headers(address: Address, token: str) -> dict[str, str]:
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


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.rstrip(".") or type(error).__name__
