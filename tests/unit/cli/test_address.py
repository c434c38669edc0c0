"""Addresses as operators give them, and what is shown of them."""

from __future__ import annotations

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.homeserver.address import Address, shown


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1", 9000, ""),
        ("http://[::1]:9000/_synapse/metrics", "::1", 9000, "/_synapse/metrics"),
        ("https://[2001:db8::1]", "2001:db8::1", None, ""),
        ("https://example.org/a?limit=3", "example.org", None, "/a?limit=3"),
        ("http://unix:/run/synapse.sock", "", None, ""),
        ("http://unix:/run/s.sock:/_synapse/metrics", "", None, "/_synapse/metrics"),
    ],
)
def test_an_address_is_read_and_shown_as_it_was_given(
    text: str, host: str, port: int | None, path: str
) -> None:
    """IPv6 literals too, and sockets as nginx writes them."""
    address = Address.of(text)
    assert (host, port, path) == (address.host, address.port, address.path)
    assert text == str(address)


@pytest.mark.parametrize(
    "text",
    ["", "localhost:9000", "127.0.0.1:9000", "ftp://host", "http://", "http://h:x/"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        Address.of(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("http://user:secret@host:1/p", "http://host:1/p"),
        ("http://user:s%2Fecret@[::1]/", "http://[::1]/"),
        ("http://user:se/cret@host:x", "http://host:x"),
        ("http://user:12?34@host", "http://host"),
        ("http://user:12#34@host", "http://host"),
        ("ftp://user:secret@host", "ftp://host"),
        ("user:secret@host:9000", "host:9000"),
        ("http://user:sec@ret@host", "http://host"),
    ],
)
def test_nobody_sees_a_password(text: str, seen: str) -> None:
    assert seen == shown(text)


def test_a_password_may_have_any_characters_and_is_not_in_the_representation() -> None:
    address = Address.of("http://us%40er:p%2Fa%3Ass@host")
    assert ("us@er", "p/a:ss") == (address.user, address.password)
    assert "p/a" not in repr(address) + str(address)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "-c", "h.yaml", "--metrics-url", "u:s3cret@h"],
        ["status", "--every", "http://u:s3cret@h", "http://h"],
        ["top", "ftp://u:s3cret@h"],
        ["http://u:s3cret@h"],
    ],
)
def test_no_mistake_in_a_command_shows_a_password(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is in the wrong place is quoted without it."""
    with pytest.raises(SystemExit):
        main(arguments)
    said = capsys.readouterr()
    assert "s3cret" not in said.out + said.err
    assert "error: " in said.err
