"""Send requests as fast as a Synapse answers; a process of its own.

Twisted's client would need more time for a request than Synapse does. Imports nothing
of the project.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from typing import Any, Iterator

OK = 200


def storm(order: dict[str, Any]) -> dict[str, Any]:
    """Send one body again and again, over a number of connections.

    Args:
        order: `host`, `port`, `path` to which a number is appended, `token`, `body`,
            `connections`, `seconds` and `most` requests.

    Returns:
        `sent`, `failed` and `seconds`.
    """
    numbers, started = count(), time.perf_counter()
    headers = {"Authorization": f"Bearer {order['token']}"}

    def keep_sending() -> Iterator[int]:
        connection = HTTPConnection(order["host"], order["port"])
        while time.perf_counter() - started < order["seconds"]:
            # No thread is interrupted in here.
            number = next(numbers)
            if number >= order["most"]:
                return
            path = f"{order['path']}{number}"
            connection.request("PUT", path, order["body"].encode(), headers)
            answer = connection.getresponse()
            answer.read()
            yield answer.status

    connections = range(order["connections"])
    with ThreadPoolExecutor(len(connections)) as threads:
        told = list(threads.map(lambda _: list(keep_sending()), connections))
    seconds = time.perf_counter() - started
    statuses = [status for each in told for status in each]
    failed = sum(status != OK for status in statuses)
    return {"sent": len(statuses), "failed": failed, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(storm(json.loads(sys.argv[1]))))  # noqa: T201
