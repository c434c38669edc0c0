"""Send requests as fast as a Synapse answers; a process of its own.

Twisted's client would need more time for a request than Synapse does. This one knows
only as much HTTP as Synapse's answers have, and imports nothing of the project.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio import StreamReader, StreamWriter
from itertools import count
from typing import Any

OK = b"200"


async def storm(order: dict[str, Any]) -> dict[str, Any]:
    """Send one body again and again, over a number of connections.

    Args:
        order: `host`, `port`, `path` to which a number is appended, `token`, `body`,
            `connections`, `seconds` and `most` requests.

    Returns:
        `sent`, `failed` and `seconds`.
    """
    opened = [
        await asyncio.open_connection(order["host"], order["port"])
        for _ in range(order["connections"])
    ]
    numbers, statuses = count(), list[bytes]()
    started = time.perf_counter()

    async def keep_sending(reader: StreamReader, writer: StreamWriter) -> None:
        while time.perf_counter() - started < order["seconds"]:
            number = next(numbers)
            if number >= order["most"]:
                break
            writer.write(request(order, number))
            statuses.append(await answer(reader))
        writer.close()

    await asyncio.gather(*(keep_sending(*connection) for connection in opened))
    seconds = time.perf_counter() - started
    failed = sum(status != OK for status in statuses)
    return {"sent": len(statuses), "failed": failed, "seconds": seconds}


def request(order: dict[str, Any], number: int) -> bytes:
    """Return a request as it goes over the wire."""
    body: bytes = order["body"].encode()
    lines = (
        f"PUT {order['path']}{number} HTTP/1.1",
        f"Host: {order['host']}:{order['port']}",
        f"Authorization: Bearer {order['token']}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body


async def answer(reader: StreamReader) -> bytes:
    """Read an answer to its end; return its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    status_line, *fields = head.lower().split(b"\r\n")
    headers = dict(field.split(b": ", 1) for field in fields if field)
    if headers.get(b"transfer-encoding") == b"chunked":
        # Synapse's answers are JSON, in which this cannot be.
        await reader.readuntil(b"0\r\n\r\n")
    else:
        await reader.readexactly(int(headers[b"content-length"]))
    return status_line.split(b" ")[1]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(storm(json.loads(sys.argv[1])))))  # noqa: T201
