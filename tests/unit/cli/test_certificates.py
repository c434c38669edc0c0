"""Listeners with TLS, whose certificate nobody vouches for."""

from __future__ import annotations

from pathlib import Path
from typing import AsyncIterator

import attrs
import pytest

from synapse_withheld.cli.shared.homeserver.address import Address
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError, first, get
from tests.harness.homeservers.certificate import self_signed
from tests.harness.homeservers.listening import Listener
from tests.harness.reactor import async_yield_fixture, in_reactor


@async_yield_fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Address]:
    """Listen with a certificate of its own; give its address, with its file."""
    certificate = self_signed()
    path = tmp_path_factory.mktemp("tls") / "tls.crt"
    path.write_bytes(certificate.certificate)
    listener = Listener()
    listener.start(lambda _: b"hello", certificate)
    address = Address.of(f"https://{listener.address}/")
    yield attrs.evolve(address, certificate=str(path))
    await listener.stop()


@in_reactor
async def test_whoever_shows_the_certificate_is_asked(site: Address) -> None:
    """Whatever name it is made out to."""
    assert (200, "hello") == await get(site)


@in_reactor
async def test_the_first_certificate_of_a_chain_counts(
    site: Address, tmp_path: Path
) -> None:
    """Files have those above it, too."""
    mine = Path(site.certificate).read_bytes()
    for chain, known in (
        (mine + self_signed().certificate, True),
        (self_signed().certificate + mine, False),
    ):
        path = tmp_path / "chain.crt"
        path.write_bytes(chain)
        address = attrs.evolve(site, certificate=str(path))
        if known:
            assert (200, "hello") == await get(address)
        else:
            with pytest.raises(UnreachableError, match="not the certificate of"):
                await get(address)


@in_reactor
async def test_without_the_file_the_machine_has_to_trust_it(site: Address) -> None:
    """As every client does."""
    with pytest.raises(UnreachableError, match="certificate"):
        await get(attrs.evolve(site, certificate=""))


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
@in_reactor
async def test_a_file_that_is_none_is_named(
    site: Address, tmp_path: Path, content: bytes | None
) -> None:
    """It may not be readable for whoever asks."""
    path = tmp_path / "tls.crt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreachableError, match=r"its certificate .*tls\.crt"):
        await get(attrs.evolve(site, certificate=str(path)))


@in_reactor
async def test_the_first_address_that_answers_counts(site: Address) -> None:
    """Only where none does all are named."""
    nobody = Address.of("http://127.0.0.1:1/a")
    assert (site, (200, "hello")) == await first([nobody, site], get)
    with pytest.raises(UnreachableError, match=r"^http://127.*/a: it .*; http.*/b: it"):
        await first([nobody, Address.of("http://[::1]:1/b")], get)
