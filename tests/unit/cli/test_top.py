"""What `top` prints, and what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from synapse_withheld.cli import __main__ as cli
from synapse_withheld.cli.commands.top import in_text
from synapse_withheld.cli.shared.homeserver.token import TOKEN, read_token

NOT_A_TOKEN = [b"\xff\xfe", b"two words", b"one\nanother", "t\u00f6ken".encode()]


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


def test_a_token_is_read_from_a_file_or_the_environment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Never from the arguments, which others on the machine can read."""
    assert "" == read_token(None)
    monkeypatch.setenv(TOKEN, " of_the_environment ")
    assert "of_the_environment" == read_token(None)
    file = tmp_path / "token.txt"
    file.write_text("of_the_file\n")
    assert "of_the_file" == read_token(file)
    with pytest.raises(SystemExit):
        cli.main(["top", "--help"])
    assert "--token " not in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, *NOT_A_TOKEN])
@pytest.mark.parametrize("command", [("check", "-c", "/dev/null"), ("top", "http://h")])
def test_what_is_no_token_is_said_in_a_line(
    command: tuple[str, ...],
    content: bytes | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is sent to nobody, and not shown."""
    file = tmp_path / "token.txt"
    if content is not None:
        file.write_bytes(content)
    assert 2 == cli.main([*command, "--token-file", str(file)])
    said = capsys.readouterr()
    assert ("", 1) == (said.out, len(said.err.splitlines()))
    assert str(file) in said.err
    assert "another" not in said.err
