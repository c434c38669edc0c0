"""Asking by HTTP: each kind of address, and what goes along."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any, AsyncIterator

import pytest
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, get
from tests.harness.reactor import async_yield_fixture, in_reactor


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


def _untyped(twisted: Any) -> Any:
    return twisted


@async_yield_fixture(scope="module")
async def listening(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Listen on each kind of address; give them by name."""
    twisted: Any = reactor
    socket: Path = tmp_path_factory.mktemp("sockets") / "http.sock"
    site = _untyped(Site)(_untyped(Echo)())
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


@pytest.mark.parametrize("kind", ["IPv4", "IPv6", "name", "socket"])
@in_reactor
async def test_each_kind_of_address_is_asked(
    listening: dict[str, str], kind: str
) -> None:
    """By its name, as servers tell apart who is asked for."""
    status, text = await get(f"http://{listening[kind]}/a/b?c=d%20e", token="T")  # noqa: S106 no secret
    host = "localhost" if kind == "socket" else listening[kind]
    said = {"host": host, "authorization": "Bearer T", "path": "/a/b?c=d%20e"}
    assert (200, said) == (status, json.loads(text))


@in_reactor
async def test_a_password_goes_along_as_basic_authentication(
    listening: dict[str, str],
) -> None:
    """As the characters that the address stands for."""
    _, text = await get(f"http://us%40er:p%2Fa@{listening['IPv4']}")
    expected = f"Basic {b64encode(b'us@er:p/a').decode()}"
    assert expected == json.loads(text)["authorization"]


@in_reactor
async def test_a_redirect_is_told_and_not_followed(listening: dict[str, str]) -> None:
    """The token would go there too; and no password is shown."""
    with pytest.raises(UnreachableError) as told:
        await get(f"http://{listening['IPv4']}/elsewhere")
    assert "it answers 302 and points to http://elsewhere.example/" in str(told.value)


@in_reactor
async def test_a_token_and_a_password_do_not_go_together() -> None:
    """There is one header for both."""
    with pytest.raises(UnreachableError, match="give one of the two"):
        await get("http://user:secret@localhost", token="T")  # noqa: S106 no secret


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://unix:/no/such:/"]
)
@in_reactor
async def test_where_nobody_answers_the_reason_is_told(address: str) -> None:
    """In one line."""
    with pytest.raises(UnreachableError, match=r"it does not answer: \S") as told:
        await get(address)
    assert "\n" not in str(told.value)
