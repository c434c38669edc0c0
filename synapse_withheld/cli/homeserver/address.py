"""Addresses of HTTP as operators give them, and as they may be shown."""

from __future__ import annotations

import argparse
import re
from typing import Callable
from urllib.parse import unquote, urlsplit

import attrs

# As nginx writes the address of a socket: `http://unix:/run/synapse.sock:/path`.
_SOCKET = re.compile(r"http://unix:(?P<socket>/[^:?#]+)(?P<path>:/.*|:?)")
_HIDDEN = re.compile(r"^([a-z+]*://)?.*@", re.IGNORECASE | re.DOTALL)


@attrs.frozen
class Address:
    """Where something answers by HTTP; as text it shows no user and no password.

    Attributes:
        scheme: `http` or `https`.
        host: A name or an IP address, without brackets; empty for a socket.
        port: The port, where one is named.
        socket: The path of a unix socket, instead of host and port.
        path: What is asked for there, with a slash before it; may be empty.
        user: Who to be there, with HTTP's basic authentication.
        password: Of that user; never shown.
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
        """Read an address.

        Raises:
            ValueError: It is none; the text of it is not shown.
        """
        on_socket = _SOCKET.fullmatch(text)
        if on_socket:
            path = on_socket["path"].lstrip(":")
            return cls("http", "", socket=on_socket["socket"], path=path)
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("no address of HTTP")
        if "@" in f"{parts.path}{parts.query}{parts.fragment}":
            # It ends a password with a slash in it, which would be shown as the path.
            raise ValueError("no address of HTTP: a password is percent-encoded")
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        host = parts.hostname
        return cls(parts.scheme, host, parts.port, "", path, user, password)

    def __str__(self) -> str:
        if self.socket:
            return f"http://unix:{self.socket}" + (f":{self.path}" * bool(self.path))
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def shown(text: str) -> str:
    """Return a text that was given as an address, without user and password."""
    try:
        return str(Address.of(text))
    except ValueError:
        return _HIDDEN.sub(r"\1", text)


def without_passwords(message: str) -> str:
    """Return a sentence that may quote addresses, without user and password."""
    return re.sub(r"://\S*@", "://", message)


def address_like(example: str) -> Callable[[str], Address]:
    """Return what reads an address from the command line, and names an example."""

    def read(text: str) -> Address:
        try:
            return Address.of(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{shown(text)!r} does not begin like {example}"
            ) from None

    return read
