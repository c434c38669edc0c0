"""Show what the module does: `python -m tests.demo`.

Exits with 0 if everything that has to hold did, 1 if something did not, 2 if it
could not be shown, 130 if it was interrupted before its end.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Sequence

from twisted.internet.defer import CancelledError, Deferred

from tests.demo.demonstration import Outcome, compare, two_homeservers
from tests.demo.federation.servers import federate
from tests.demo.output.keeping import invitation
from tests.demo.output.progress import Progress
from tests.demo.requests import compare_requests
from tests.harness.homeservers.homeserver import HomeserverError
from tests.harness.processes.process import tail
from tests.harness.running import INTERRUPTED, run

HELD, DID_NOT_HOLD, NOT_SHOWN = 0, 1, 2

LOG_LINES = 20


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo",
        description="Drive Synapses with the same traffic, some with the module. The "
        "table goes to standard output, everything else to standard error.",
    )
    one = parser.add_mutually_exclusive_group()
    flags = {
        "--keep": "let the Synapse with the module run on until Ctrl-C",
        "--federation": "instead: four Synapses that federate, the receiving ones away",
        "--requests": "instead: a mailbox of 10,000 stale key requests",
    }
    for name, does in flags.items():
        one.add_argument(name, action="store_true", help=does)
    parser.add_argument(
        "--markdown", action="store_true", help="print the table as Markdown"
    )
    return parser.parse_args(arguments)


async def demonstrate(
    directory: Path, options: argparse.Namespace, progress: Progress
) -> int:
    started = perf_counter()

    def told(outcome: Outcome) -> int:
        for check in outcome.checks:
            progress.say(f"  {check.verdict}")
        progress.say(f"Done in {perf_counter() - started:.0f} s.")
        print(outcome.table, flush=True)
        held = all(check.holds for check in outcome.checks)
        return HELD if held else DID_NOT_HOLD

    markdown: bool = options.markdown
    if options.federation:
        return told(await federate(directory, progress, markdown=markdown))
    if options.requests:
        return told(await compare_requests(directory, progress, markdown=markdown))
    progress.say("Starting a stock Synapse and one with the module.")
    async with two_homeservers(directory) as (stock, module):
        outcome = await compare(stock, module, progress, markdown=markdown)
        code = told(outcome)
        if options.keep and outcome.cast:
            await stock.stop()
            for line in invitation(module, outcome.cast):
                progress.say(line)
            progress.say("It runs until Ctrl-C, which stops it and deletes its data.")
            # To be interrupted is how this is meant to end.
            with suppress(CancelledError):
                await Deferred()
            progress.say("Stopping.")
        return code


async def show(directory: Path, options: argparse.Namespace, progress: Progress) -> int:
    """Run a demonstration and say what went wrong; return the exit code."""
    try:
        return await demonstrate(directory, options, progress)
    except CancelledError:
        progress.say("Interrupted.")
        return INTERRUPTED
    except HomeserverError as error:
        # It ends with the end of the log.
        progress.say(str(error))
        return NOT_SHOWN
    except Exception:  # noqa: BLE001 shown, whatever it is
        traceback.print_exc()
    for path in sorted(directory.glob("*/homeserver.log")):
        progress.say(f"The end of the log of {path.parent.name}:")
        progress.say(tail(path, lines=LOG_LINES))
    return NOT_SHOWN


if __name__ == "__main__":
    options, progress = parse(sys.argv[1:]), Progress(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="withheld-demo-") as directory:
        sys.exit(run(lambda: show(Path(directory), options, progress)))
