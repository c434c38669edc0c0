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
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """One answer.

    Attributes:
        started: When its request was made, by the clock that all processes share.
        took: How long it took, in seconds.
        worked: The processor time that Synapse took meanwhile, in seconds: what other
            processes of the machine do is not in that.
    """

    started: float
    took: float
    worked: float
    status: float


def clock_of(pid: int) -> int:
    """Return Linux's clock of the processor time of a process.

    As its `MAKE_PROCESS_CPUCLOCK` makes it.
    """
    return (~pid << 3) | 2


def ask(order: dict[str, Any]) -> None:
    """Make one request again and again, over a number of connections; print answers.

    Args:
        order: `host`, `port`, `pid`, `method`, `path` with `{}` for a number,
            `headers`, `body`, `connections`, `seconds`, `most` requests, and the
            seconds of a `gap` between an answer and the next request.
    """
    numbers, ends = count(), time.monotonic() + order["seconds"]
    clock = clock_of(order["pid"])

    def keep_asking(_: int) -> None:
        connection = HTTPConnection(order["host"], order["port"])
        while time.monotonic() < ends and (number := next(numbers)) < order["most"]:
            path, body = order["path"].format(number), order["body"].encode()
            started, before = time.monotonic(), time.clock_gettime(clock)
            connection.request(order["method"], path, body, order["headers"])
            answer = connection.getresponse()
            answer.read()
            took = time.monotonic() - started
            worked = time.clock_gettime(clock) - before
            line = f"{started:.6f} {took:.6f} {worked:.6f} {answer.status}\n"
            # At once and whole, whoever else prints.
            os.write(sys.stdout.fileno(), line.encode())
            time.sleep(order["gap"])

    with ThreadPoolExecutor(order["connections"]) as threads:
        list(threads.map(keep_asking, range(order["connections"])))


def answers(printed: str) -> list[Answer]:
    return [Answer(*map(float, line.split())) for line in printed.splitlines()]


if __name__ == "__main__":
    ask(json.loads(sys.argv[1]))
