"""Asking by HTTP: each kind of address, what goes along, and whom to trust."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, AsyncIterator, cast

import attrs
import pytest
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, first, get
from tests.harness.homeservers.certificate import self_signed
from tests.harness.homeservers.listening import Listener
from tests.harness.reactor import async_yield_fixture, in_reactor

# Of the listener, which Twisted hands them to.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class Echo(Resource):
    """Answers with what it was asked; below `/elsewhere` it points away."""

    isLeaf = True  # noqa: N815 Twisted's

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 Twisted's
        if request.path == b"/elsewhere":
            request.redirect(b"http://user:secret@elsewhere.example/")
        headers = request.requestHeaders
        said = {
            name: headers.getRawHeaders(name, [""])[0]
            for name in ("host", "authorization")
        }
        return json.dumps({**said, "path": request.uri.decode()}).encode()


@async_yield_fixture(scope="module")
async def listening(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Listen on each kind of address; give them by name."""
    twisted: Any = reactor
    socket: Path = tmp_path_factory.mktemp("sockets") / "http.sock"
    site = cast("Any", Site)(cast("Any", Echo)())
    ports = [
        twisted.listenTCP(0, site, interface="127.0.0.1"),
        twisted.listenTCP(0, site, interface="::1"),
        twisted.listenUNIX(str(socket), site),
    ]
    four, six = (each.getHost().port for each in ports[:2])
    yield {
        "IPv4": f"127.0.0.1:{four}",
        "IPv6": f"[::1]:{six}",
        "name": f"localhost:{four}",
        "socket": f"unix:{socket}:",
    }
    for each in ports:
        await each.stopListening()


@async_yield_fixture(scope="module")
async def with_tls(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Address]:
    """Listen with a certificate of its own; give its address, with its file."""
    certificate = self_signed()
    path = tmp_path_factory.mktemp("tls") / "tls.crt"
    path.write_bytes(certificate.certificate)
    listener = Listener()
    listener.start(cast("Any", Echo)(), certificate)
    address = Address.of(f"https://{listener.address}/")
    yield attrs.evolve(address, certificate=str(path))
    await listener.stop()


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "name", "socket"])
@in_reactor
async def test_each_kind_of_address_is_asked(
    listening: dict[str, str], kind: str
) -> None:
    """By its name, as servers tell apart who is asked for."""
    address = Address.of(f"http://{listening[kind]}/a/b?c=d%20e")
    status, text = await get(address, token="T")  # noqa: S106 no secret
    host = "localhost" if kind == "socket" else listening[kind]
    said = {"host": host, "authorization": "Bearer T", "path": "/a/b?c=d%20e"}
    assert (200, said) == (status, json.loads(text))


@in_reactor
async def test_a_password_goes_along_as_basic_authentication(
    listening: dict[str, str],
) -> None:
    """There is one header for it and for a token."""
    address = Address.of(f"http://us%40er:p%2Fa@{listening['IPv4']}")
    _, text = await get(address)
    expected = f"Basic {b64encode(b'us@er:p/a').decode()}"
    assert expected == json.loads(text)["authorization"]
    with pytest.raises(UnreachableError, match="give one of the two"):
        await get(address, token="T")  # noqa: S106 no secret


@in_reactor
async def test_a_redirect_is_told_and_not_followed(listening: dict[str, str]) -> None:
    """The token would go there too; and no password is shown."""
    with pytest.raises(UnreachableError) as told:
        await get(Address.of(f"http://{listening['IPv4']}/elsewhere"))
    assert "it answers 302 and points to http://elsewhere.example/" in str(told.value)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://unix:/no/such:/"]
)
@in_reactor
async def test_where_nobody_answers_the_reason_is_told(address: str) -> None:
    """In one line."""
    with pytest.raises(UnreachableError, match=r"it does not answer: \S") as told:
        await get(Address.of(address))
    assert "\n" not in str(told.value)


@in_reactor
async def test_the_first_certificate_of_a_file_is_trusted_whatever_its_name(
    with_tls: Address, tmp_path: Path
) -> None:
    """Files have those above it in the chain, too."""
    mine, other = Path(with_tls.certificate).read_bytes(), self_signed().certificate
    path = tmp_path / "chain.crt"
    address = attrs.evolve(with_tls, certificate=str(path))
    path.write_bytes(mine + other)
    status, _ = await get(address)
    assert 200 == status
    path.write_bytes(other + mine)
    with pytest.raises(UnreachableError, match="not the certificate of"):
        await get(address)
    with pytest.raises(UnreachableError, match="none that is trusted here"):
        await get(attrs.evolve(address, certificate=""))


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
@in_reactor
async def test_a_file_that_is_no_certificate_is_named(
    with_tls: Address, tmp_path: Path, content: bytes | None
) -> None:
    """It may not be readable for whoever asks."""
    path = tmp_path / "tls.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreachableError, match=r"its certificate .*tls\.crt"):
        await get(attrs.evolve(with_tls, certificate=str(path)))


@in_reactor
async def test_the_first_address_that_answers_counts(with_tls: Address) -> None:
    """Only where none does all are named."""
    nobody = Address.of("http://127.0.0.1:1/a")
    address, _ = await first([nobody, with_tls], get)
    assert with_tls == address
    with pytest.raises(UnreachableError, match=r"^http://127.*/a: it .*; http.*/b: it"):
        await first([nobody, Address.of("http://[::1]:1/b")], get)
