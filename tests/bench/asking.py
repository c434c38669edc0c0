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
    ended_s: float  # by the clock that all processes share
    took_s: float
    worked_s: float  # of a processor, by Synapse: however much else the machine does
    status: float


def worked_s(pid: int) -> float:
    """Return how long a process has used a processor."""
    # The clock's number is made as by Linux's `MAKE_PROCESS_CPUCLOCK`.
    return time.clock_gettime((~pid << 3) | 2)


def ask(
    url: str,
    pid: int,
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
            before_s = worked_s(pid)
            path = address.path.replace("%d", str(next(numbers)))
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            answer.read()
            ended_s, after_s = time.monotonic(), worked_s(pid)
            told = ended_s, ended_s - began_s, after_s - before_s, answer.status
            # At once and whole, whoever else prints.
            os.write(sys.stdout.fileno(), "{} {} {} {}\n".format(*told).encode())
            time.sleep(gap_s)

    with ThreadPoolExecutor(connections) as threads:
        list(threads.map(keep_asking, range(connections)))


def answers(output: Path) -> list[Answer]:
    lines = output.read_text().splitlines()
    return [Answer(*map(float, line.split())) for line in lines]


if __name__ == "__main__":
    ask(**json.loads(sys.argv[1]))
