"""Fetch something by HTTP, and say in words why that fails."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any, Awaitable, Callable, Iterable, TypeVar
from urllib.parse import quote

import attrs
from OpenSSL import SSL, crypto
from twisted.internet import reactor
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from synapse_withheld.cli.shared.homeserver.address import Address, shown

# How long an answer may take, in seconds.
ANSWER_WITHIN_S = 10.0

FOUND = 200
_REDIRECTED = range(300, 400)

# What OpenSSL says of a certificate.
_UNTRUSTED = "certificate verify failed"

# What paths and queries may have as it is.
_AS_IT_IS = "/?&=%:@!$'()*+,;~"

T = TypeVar("T")


class UnreachableError(Exception):
    """There is no answer, or not the one that was asked for; the message says how."""


async def get(address: Address, token: str | None = None) -> tuple[int, str]:
    """Return the status and the text of an answer.

    Redirects are not followed: a Matrix access token or a password would go along.

    Raises:
        UnreachableError: There is none.
    """
    # Twisted decides at run time what kind it is.
    clock: Any = reactor
    agent, headers = _agent(address), _headers(address, token)
    path = quote(address.path or "/", safe=_AS_IT_IS).encode()
    url = f"{address.scheme}://".encode() + _host(address) + path
    try:
        asked = agent.request(b"GET", url, headers)
        response: Any = await asked.addTimeout(ANSWER_WITHIN_S, clock)
        body: bytes = await readBody(response).addTimeout(ANSWER_WITHIN_S, clock)
    except Exception as error:  # refused, reset, timed out, no such host, TLS, …
        reason = _reason(error, address)
        raise UnreachableError(f"it does not answer: {reason}") from error
    if response.code in _REDIRECTED:
        where = _text(response.headers.getRawHeaders(b"location", [b"nowhere"])[0])
        raise UnreachableError(
            f"it answers {response.code} and points to {shown(where)}; name that"
        )
    return response.code, _text(body)


async def first(
    addresses: Iterable[Address], ask: Callable[[Address], Awaitable[T]]
) -> tuple[Address, T]:
    """Return the first address of a process that answers, and what it answers.

    Raises:
        UnreachableError: None of them does; the message names each.
    """
    problems = []
    for address in addresses:
        try:
            return address, await ask(address)
        except UnreachableError as error:  # noqa: PERF203 what follows may answer
            problems.append(f"{address}: {error}")
    raise UnreachableError("; ".join(problems))


@implementer(IAgentEndpointFactory)
@attrs.frozen
class _OnSocket:
    """Makes connections to one unix socket."""

    path: str

    def endpointForURI(self, _: object) -> Any:  # noqa: N802 Twisted's
        endpoint: Any = UNIXClientEndpoint
        return endpoint(reactor, self.path, timeout=ANSWER_WITHIN_S)


@implementer(IPolicyForHTTPS, IOpenSSLClientConnectionCreator)
@attrs.frozen
class _OnlyCertificate:
    """Makes connections to whoever shows one certificate.

    A homeserver's is made out to its name, and asked for on an address of this
    machine: whoever knows its file needs nobody to vouch for it.
    """

    digest: bytes

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:  # noqa: ARG002, N802 Twisted's
        return self

    def clientConnectionForTLS(self, protocol: Any) -> Any:  # noqa: ARG002, N802 Twisted's
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_verify(SSL.VERIFY_PEER, self._is_it)
        return SSL.Connection(context, None)

    def _is_it(
        self, _: Any, certificate: Any, error: int, depth: int, trusted: int
    ) -> bool:
        # Those above it in the chain say nothing that counts.
        del error, trusted
        return depth > 0 or certificate.digest("sha256") == self.digest


def _agent(address: Address) -> Any:
    agent: Any = Agent  # has no types
    if address.socket:
        return agent.usingEndpointFactory(reactor, _OnSocket(address.socket))
    if address.certificate:
        policy = _OnlyCertificate(_digest(address.certificate))
        return agent(reactor, policy, connectTimeout=ANSWER_WITHIN_S)
    return agent(reactor, connectTimeout=ANSWER_WITHIN_S)


def _digest(file: str) -> bytes:
    """Return that of the first certificate in a file."""
    problem = "its certificate cannot be read, to know it by"
    try:
        text = Path(file).read_bytes()
        found = crypto.load_certificate(crypto.FILETYPE_PEM, text)
    except OSError as error:
        raise UnreachableError(f"{problem}: {error}") from error
    except crypto.Error:
        raise UnreachableError(f"{problem}: {file} is no certificate") from None
    return found.digest("sha256")


def _host(address: Address) -> bytes:
    # Names may have letters of any script; numbers are no names.
    return address.netloc.encode("ascii" if address.netloc.isascii() else "idna")


def _headers(address: Address, token: str | None) -> Headers:
    # Twisted would leave the brackets of an IPv6 address out of it.
    headers = Headers({b"Host": [_host(address)]})
    if token and address.user:
        raise UnreachableError(
            "an address with a user leaves no room for an access token; give one of "
            "the two"
        )
    if token:
        headers.addRawHeader(b"Authorization", f"Bearer {token}".encode())
    if address.user:
        said = f"{address.user}:{address.password}".encode()
        headers.addRawHeader(b"Authorization", b"Basic " + b64encode(said))
    return headers


def _reason(error: Exception, address: Address) -> str:
    # Twisted wraps what goes wrong once a connection was made.
    reasons = getattr(error, "reasons", None)
    text = reasons[0].getErrorMessage() if reasons else str(error)
    if _UNTRUSTED in text and address.certificate:
        return f"what it shows is not the certificate of {address.certificate}"
    if _UNTRUSTED in text:
        return f"its certificate is none that is trusted here for {address.host}"
    return text.rstrip(".") or type(error).__name__


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
