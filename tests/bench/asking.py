"""Make requests as fast as a Synapse answers, or now and then; a process of its own.

Twisted's client would need more time for a request than Synapse does. Imports nothing
of the project.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from math import inf
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """When one came and how long it took, by the clock that all processes share."""

    ended_s: float
    took_s: float
    status: float


def ask(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: str = "",
    connections: int = 1,
    seconds: float = inf,
    gap_s: float = 0,
) -> None:
    """Make one request again and again, over a number of connections; print answers.

    In the URL `%d` becomes a number. After each answer a connection rests for `gap_s`.
    """
    numbers, ends_s, address = count(), time.monotonic() + seconds, urlsplit(url)

    def keep_asking(_: int) -> None:
        connection = HTTPConnection(address.netloc)
        while (began_s := time.monotonic()) < ends_s:
            path = address.path.replace("%d", str(next(numbers)))
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            answer.read()
            ended_s = time.monotonic()
            line = f"{ended_s:.6f} {ended_s - began_s:.6f} {answer.status}\n"
            # At once and whole, whoever else prints.
            os.write(sys.stdout.fileno(), line.encode())
            time.sleep(gap_s)

    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(keep_asking, range(connections)))


def answers(output: Path) -> list[Answer]:
    lines = output.read_text().splitlines()
    return [Answer(*map(float, line.split())) for line in lines]


if __name__ == "__main__":
    ask(**json.loads(sys.argv[1]))
