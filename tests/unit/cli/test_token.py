"""Access tokens, which are never arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from synapse_withheld.cli.__main__ import main
from synapse_withheld.cli.shared.homeserver.token import TOKEN, read_token

NOT_ONE = [b"\xff\xfe", b"two words", b"one\nanother", "t\u00f6ken".encode()]


def test_a_file_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without either there is none."""
    assert "" == read_token(None)
    monkeypatch.setenv(TOKEN, " of_the_environment ")
    assert "of_the_environment" == read_token(None)
    file = tmp_path / "token.txt"
    file.write_text("of_the_file\n")
    assert "of_the_file" == read_token(file)


@pytest.mark.parametrize("content", [None, *NOT_ONE])
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
    assert 2 == main([*command, "--token-file", str(file)])
    said = capsys.readouterr()
    assert ("", 1) == (said.out, len(said.err.splitlines()))
    assert str(file) in said.err
    assert "another" not in said.err
