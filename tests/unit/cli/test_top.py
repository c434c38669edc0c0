"""What `top` prints, and what it takes."""

from __future__ import annotations

from typing import Any

import pytest

from synapse_withheld.cli import __main__ as cli
from synapse_withheld.cli.commands.top import in_text


def top(*names: str) -> dict[str, Any]:
    """Return an answer with these senders."""
    counted = {"rule": "no_olm", "notices": 1200, "error": 200}
    senders = [{"user_id": name, **counted} for name in names]
    return {"senders": senders, "recipients": []}


def test_top_prints_both_ends_of_what_is_known() -> None:
    """A number that is not exact says so."""
    _, line, *_ = in_text(top("@a:b")).splitlines()
    assert ["1,000", "1,200", "no_olm", "@a:b"] == line.split()


def test_top_prints_no_control_characters() -> None:
    """Anybody may choose a name that would move the cursor or clear the screen."""
    text = in_text(top("@\x1b[2J\r\u202eevil:b"))
    assert all(each.isprintable() for line in text.split("\n") for each in line)
    assert "evil:b" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["localhost:8008"],
        ["ftp://localhost"],
        ["--limit", "0", "http://localhost"],
        ["--limit", "101", "http://localhost"],
        ["--limit", "9" * 5000, "http://localhost"],
        ["--limit", "٣", "http://localhost"],
    ],
)
def test_what_is_no_request_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["top", *arguments])
    assert 2 == ended.value.code
    assert "usage: synapse-withheld top" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://h:8008", ""),
        ("http://h:8008/", ""),
        ("http://h:8008/_synapse/client/withheld", ""),
        ("http://h:8008/_synapse/client/withheld/", ""),
        ("http://h:8008/below/_synapse/client/withheld/?a=b", "/below"),
        ("http://h:8008/below/", "/below"),
    ],
)
def test_the_address_of_the_page_is_that_of_the_writer(given: str, asked: str) -> None:
    """It is what a browser has at hand."""
    parsed = cli.make_parser().parse_args(["top", given])
    assert f"http://h:8008{asked}" == str(parsed.url)


def test_a_password_in_a_wrong_address_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Somebody may watch, or keep the output."""
    for wrong in ("user:secret@host", "ftp://user:secret@host/"):
        with pytest.raises(SystemExit):
            cli.main(["top", wrong])
        said = capsys.readouterr().err
        assert "secret" not in said
        assert "does not begin like https://matrix.example.org" in said


def test_a_token_is_never_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    """Others on the machine can read those."""
    with pytest.raises(SystemExit):
        cli.main(["top", "--help"])
    assert "--token " not in capsys.readouterr().out
