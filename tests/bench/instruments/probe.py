"""Ask a Synapse for something simple again and again; a process of its own.

Prints, for each request, when it was made and how long its answer took, in seconds of
the clock that all processes share. Imports nothing of the project.
"""

from __future__ import annotations

import sys
import time
from http.client import HTTPConnection

# Between an answer and the next request.
GAP_S = 0.01


def probe(host: str, port: int, path: str) -> None:
    """Ask until the process is ended."""
    connection = HTTPConnection(host, port)
    while True:
        started = time.monotonic()
        connection.request("GET", path)
        connection.getresponse().read()
        took = time.monotonic() - started
        print(f"{started:.6f} {took:.6f}", flush=True)  # noqa: T201 that is the output
        time.sleep(GAP_S)


if __name__ == "__main__":
    probe(sys.argv[1], int(sys.argv[2]), sys.argv[3])
