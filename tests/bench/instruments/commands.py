"""Fill mailboxes at once, and run the commands that look at all of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Iterator, Sequence

from tests.bench.instruments.synapses import Lane
from tests.bench.report import Target

MAILBOX = 1000  # rows
# At most so much more memory for any number of rows.
FLAT = 1.2
LOOK_EVERY_S = 0.05

_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT '@' || LPAD(CAST({mailbox} AS TEXT), 6, '0') || ':hs', 'DEVICE', n,
        REPLACE(
            REPLACE((?)[MOD({nth}, ?) + 1], 'NUMBER', CAST(n AS TEXT)),
            'DIGIT', CAST(MOD(n, 10) AS TEXT)
        )
    FROM generate_series(1, ?) AS n
"""


def fill(
    lane: Lane, rows: int, texts: Sequence[str], *, in_turns: bool = False
) -> None:
    """Have so many rows in mailboxes, with some texts over and over, and nothing else.

    In the texts `NUMBER` is the row's number, and `DIGIT` its last digit.

    Args:
        lane: On PostgreSQL.
        rows: How many.
        texts: What is in them.
        in_turns: Whether the mailboxes have grown at the same time.
    """
    mailboxes = max(1, rows // MAILBOX)
    mailbox, nth = f"n / {MAILBOX}", "n"
    if in_turns:
        mailbox, nth = f"MOD(n, {mailboxes})", f"n / {mailboxes}"
    sql = _FILL.format(mailbox=mailbox, nth=nth)
    lane.homeserver.query("TRUNCATE device_inbox")
    lane.homeserver.query(sql, (list(texts), len(texts), rows))
    # Who looks first at new rows would have to mark them as settled.
    lane.homeserver.query("VACUUM ANALYZE device_inbox")
    lane.homeserver.query("CHECKPOINT")


def begin(lane: Lane, command: str, *more: str) -> subprocess.Popen[bytes]:
    """Begin to sweep by hand, or to survey."""
    config = str(lane.directory / "homeserver.yaml")
    arguments = [command, "-c", config, "--json", *more]
    return subprocess.Popen(  # noqa: S603 our own command
        [sys.executable, "-m", "synapse_withheld.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def weighed(lane: Lane, command: str, *more: str) -> tuple[dict[str, Any], int]:
    """Run a command without pauses; return what it told, and the bytes it held."""
    process = begin(lane, command, "--pause", "0", *more)
    held: dict[int, int] = {}
    while process.poll() is None:
        held.update(_held(process.pid))
        time.sleep(LOOK_EVERY_S)
    assert process.returncode == 0
    return json.loads(process.communicate()[0]), sum(held.values())


def _held(pid: int) -> Iterator[tuple[int, int]]:
    """Return the most bytes that a process held, and those that it started."""
    # What has just ended has no files any more, or holds nothing.
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            yield pid, int(found[1]) * 1024
        program = Path(f"/proc/{pid}/cmdline").read_bytes()
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            # One that is not another program yet still has the memory of this one.
            if Path(f"/proc/{child}/cmdline").read_bytes() != program:
                yield from _held(int(child))


def flat(command: str, peaks: list[int]) -> Target:
    """Return the target about memory, fewest rows first."""
    name = f"{command}: memory, most rows to fewest"
    return Target.most(name, max(peaks) / peaks[0], FLAT, binding=True)
