"""What `top` prints, and what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from synapse_withheld.cli import __main__ as cli
from synapse_withheld.cli.commands.top import in_text


@pytest.mark.parametrize("name", ["@a:b", "@\x1b[2J\r\u202eevil:b"])
def test_top_prints_no_control_characters(name: str) -> None:
    """Anybody may choose a name that would move the cursor; the numbers stay."""
    counted = {"rule": "no_olm", "notices": 1200, "error": 200}
    text = in_text({"senders": [{"user_id": name, **counted}], "recipients": []})
    _, line, *_ = text.splitlines()
    assert ["1,000", "1,200", "no_olm"] == line.split()[:3]
    assert line.endswith(name[-3:])
    assert all(each.isprintable() for line in text.split("\n") for each in line)


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://h:8008/", ""),
        ("http://h:8008/_synapse/client/withheld", ""),
        ("http://h:8008/below/_synapse/client/withheld/?a=b", "/below"),
        ("http://h:8008/below/", "/below"),
    ],
)
def test_the_address_of_the_page_is_that_of_the_writer(given: str, asked: str) -> None:
    parsed = cli.make_parser().parse_args(["top", given])
    assert f"http://h:8008{asked}" == str(parsed.url)


@pytest.mark.parametrize("content", [b"\xff", b"two words", b"one\nanother", b"\xc3"])
def test_what_is_no_token_is_said_in_a_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token.txt"
    file.write_bytes(content)
    assert 2 == cli.main(["top", "http://h", "--token-file", str(file)])
    said = capsys.readouterr()
    assert ("", 1) == (said.out, len(said.err.splitlines()))
    assert str(file) in said.err
    assert "another" not in said.err
