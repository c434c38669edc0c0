"""What is done in a second process: how it is told of, fails, and comes to its end."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from typing import Any

import pytest

from synapse_withheld.cli.shared.walking.aside import Aside, Rest
from synapse_withheld.cli.shared.walking.database import DatabaseError
from synapse_withheld.database.database import StatementError


def walk(rest: Rest, most: int) -> dict[str, int]:
    """Walk so many rows, or until it is to stop."""
    rows = 1
    while not rest(rows, 0) and rows < most:
        rows += 1
    return {"rows": rows}


def fail(_: Rest, error: type[Exception] | None) -> None:
    if error is None:
        os.kill(os.getpid(), signal.SIGKILL)
    elif error is StatementError:
        raise StatementError("statement") from DatabaseError("asked for")
    else:
        raise error("asked for")


def result_of(aside: Aside) -> Any:
    while aside.result is None:
        aside.hear(0.1)
    return aside.result


def test_it_tells_how_far_it_is_and_what_it_found() -> None:
    with closing(Aside(walk, 1000)) as aside:
        assert {"rows": 1000} == result_of(aside)
        assert 1000 == aside.rows


def test_what_is_to_stop_returns_what_it_has() -> None:
    with closing(Aside(walk, 10**12)) as aside:
        while not aside.rows:
            aside.hear(0.1)
        aside.stop()
        assert aside.rows <= result_of(aside)["rows"]


def test_nobody_has_to_listen_to_the_end() -> None:
    """It ends, though it could tell more than anybody takes."""
    Aside(walk, 10**12).close()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DatabaseError, "asked for"),
        (StatementError, "asked for"),
        (None, "the second process ended too early"),
    ],
)
def test_an_error_is_one_in_the_first_process(error: Any, says: str) -> None:
    told = pytest.raises(DatabaseError, match=f"^{says}$")
    with closing(Aside(fail, error)) as aside, told:
        result_of(aside)


def test_it_leaves_the_handlers_of_signals_as_they_were() -> None:
    earlier = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    Aside(walk, 1).close()
    assert earlier == [
        signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)
    ]
