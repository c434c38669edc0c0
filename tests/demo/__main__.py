"""Show what the module does: `python -m tests.demo`.

Exits with 0 if everything that has to hold did, 1 if something did not, 2 if it
could not be shown, 130 if it was interrupted before its end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from tests.demo.federation import federate
from tests.demo.mailboxes import compare_notices, compare_requests
from tests.demo.output import aligned, say
from tests.harness.waiting import run


async def demonstrate(options: argparse.Namespace) -> int:
    started = perf_counter()
    with tempfile.TemporaryDirectory(prefix="withheld-demo-") as directory:
        table, troubles = await options.show(Path(directory))
    for fact, trouble in troubles.items():
        say(f"  FAILED: {fact}: {trouble}" if trouble else f"  ok: {fact}")
    say(f"Done in {perf_counter() - started:.0f} s.")
    print(aligned(table, markdown=options.markdown))
    return int(any(troubles.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo",
        description="Drive Synapses with the same traffic, some with the module. The "
        "table goes to standard output, everything else to standard error.",
    )
    parser.set_defaults(show=compare_notices)
    one = parser.add_mutually_exclusive_group()
    for name, show, does in (
        ("--federation", federate, "four Synapses that federate, the receivers away"),
        ("--requests", compare_requests, "a mailbox of 10,000 stale key requests"),
    ):
        one.add_argument(
            name, dest="show", action="store_const", const=show, help=f"instead: {does}"
        )
    how = "print the table as Markdown"
    parser.add_argument("--markdown", action="store_true", help=how)
    options = parser.parse_args()
    sys.exit(run(lambda: demonstrate(options)))
