"""What the demonstration says while it runs."""

from __future__ import annotations

from io import StringIO

from tests.demo.output.progress import LINE_EVERY, Progress


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_without_a_terminal_there_are_few_lines() -> None:
    """One for every so many requests, and one at the end."""
    stream = StringIO()
    progress = Progress(stream, total=LINE_EVERY + 1)
    for _ in range(LINE_EVERY + 1):
        progress.sent()
    assert stream.getvalue() == "  500 of 501 requests\n  501 of 501 requests\n"


def test_on_a_terminal_it_counts_in_place() -> None:
    """Each number overwrites the last; the line ends with the counting."""
    stream = Terminal()
    progress = Progress(stream, total=2)
    progress.sent()
    progress.sent()
    assert stream.getvalue() == "\r  1 of 2 requests\r  2 of 2 requests\n"
