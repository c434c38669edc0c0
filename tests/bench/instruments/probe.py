"""Ask a Synapse for something simple again and again; a process of its own.

Prints, for each request, when it was made and how long its answer took, in seconds of
the clock that all processes share, and of the processor time that Synapse took
meanwhile: what other processes of the machine do is not in that. Imports nothing of the
project.
"""

from __future__ import annotations

import sys
import time
from http.client import HTTPConnection

# Between an answer and the next request.
GAP_S = 0.01


def clock_of(pid: int) -> int:
    """Return Linux's clock of the processor time of a process.

    As its `MAKE_PROCESS_CPUCLOCK` makes it.
    """
    return (~pid << 3) | 2


def probe(host: str, port: int, path: str, pid: int) -> None:
    """Ask until the process is ended."""
    connection = HTTPConnection(host, port)
    clock = clock_of(pid)
    while True:
        started, before = time.monotonic(), time.clock_gettime(clock)
        connection.request("GET", path)
        connection.getresponse().read()
        took, worked = time.monotonic() - started, time.clock_gettime(clock) - before
        line = f"{started:.6f} {took:.6f} {worked:.6f}"
        print(line, flush=True)  # noqa: T201 that is the output
        time.sleep(GAP_S)


if __name__ == "__main__":
    probe(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
