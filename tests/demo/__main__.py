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
from typing import Iterator, Sequence

import attrs
from twisted.internet.defer import CancelledError, Deferred

from tests.demo.demonstration import Outcome, compare, two_homeservers
from tests.demo.federation.demonstration import Abroad, federate
from tests.demo.output.keeping import invitation
from tests.demo.output.progress import Progress
from tests.demo.requests import compare_requests
from tests.harness.clients.matrix import MatrixError
from tests.harness.homeservers.homeserver import HomeserverError
from tests.harness.processes.process import tail
from tests.harness.running import INTERRUPTED, run

HELD, DID_NOT_HOLD, NOT_SHOWN = 0, 1, 2

LOG_LINES = 20

_EPILOG = """\
example:
  python -m tests.demo --markdown > table.md

The table goes to standard output, everything else to standard error.

exit codes:
  0    everything that has to hold did
  1    something did not: see the lines that begin with FAILED
  2    it could not be shown: see the end of the logs
  130  it was interrupted before its end
"""


@attrs.frozen
class Options:
    """What the command line says."""

    keep: bool
    markdown: bool
    federation: bool
    requests: bool


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo",
        description="Drive Synapses with the same traffic, some with the module.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="let the Synapse with the module run on until Ctrl-C",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print the table as Markdown"
    )
    parser.add_argument(
        "--federation",
        action="store_true",
        help="instead: four Synapses that federate, the receiving ones away meanwhile",
    )
    parser.add_argument(
        "--requests",
        action="store_true",
        help="instead: a mailbox of 10,000 stale key requests",
    )
    parsed = parser.parse_args(arguments)
    if parsed.federation and parsed.requests:
        parser.error("one at a time: --federation or --requests")
    if parsed.keep and (parsed.federation or parsed.requests):
        parser.error("--keep shows one Synapse: leave out --federation and --requests")
    return Options(parsed.keep, parsed.markdown, parsed.federation, parsed.requests)


async def demonstrate(directory: Path, options: Options, progress: Progress) -> int:
    """Run a demonstration; return the exit code."""
    started = perf_counter()

    def told(outcome: Outcome | Abroad) -> int:
        for check in outcome.checks:
            progress.say(f"  {check.verdict}")
        progress.say(f"Done in {perf_counter() - started:.0f} s.")
        print(outcome.table, flush=True)
        held = all(check.holds for check in outcome.checks)
        return HELD if held else DID_NOT_HOLD

    if options.federation:
        return told(await federate(directory, progress, markdown=options.markdown))
    if options.requests:
        markdown = options.markdown
        progress.say("Starting a stock Synapse and two with the module.")
        return told(await compare_requests(directory, progress, markdown=markdown))
    progress.say("Starting a stock Synapse and one with the module.")
    async with two_homeservers(directory) as (stock, module):
        outcome = await compare(stock, module, progress, markdown=options.markdown)
        code = told(outcome)
        if options.keep:
            await stock.stop()
            for line in invitation(module, outcome.cast):
                progress.say(line)
            await _until_interrupted(progress)
        return code


async def _until_interrupted(progress: Progress) -> None:
    progress.say("It runs until Ctrl-C, which stops it and deletes its data.")
    # To be interrupted is how this is meant to end.
    with suppress(CancelledError):
        await Deferred()
    progress.say("Stopping.")


async def show(directory: Path, options: Options, progress: Progress) -> int:
    """Run a demonstration and say what went wrong; return the exit code."""
    try:
        return await demonstrate(directory, options, progress)
    except CancelledError:
        progress.say("Interrupted.")
        return INTERRUPTED
    except HomeserverError as error:
        # It ends with the end of the log.
        progress.say(str(error))
    except Exception as error:  # noqa: BLE001 shown, whatever it is
        if isinstance(error, MatrixError):
            progress.say(str(error))
        else:
            traceback.print_exc()
        for text in log_tails(directory):
            progress.say(text)
    return NOT_SHOWN


def log_tails(directory: Path) -> Iterator[str]:
    """Return the end of the log of each homeserver in a directory."""
    for path in sorted(directory.glob("*/homeserver.log")):
        log = tail(path, lines=LOG_LINES)
        yield f"The end of the log of {path.parent.name}:\n{log}"


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration with a reactor; return the exit code."""
    options, progress = parse(arguments), Progress(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="withheld-demo-") as directory:
        return run(lambda: show(Path(directory), options, progress))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
