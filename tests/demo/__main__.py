"""Show what the module does: `python -m tests.demo`.

Exits with 0 if everything that has to hold did, 1 if something did not, 2 if it
could not be shown, 130 if it was interrupted before its end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Iterator

from twisted.internet.defer import CancelledError, Deferred

from tests.demo.driving import Cast
from tests.demo.federation import federate
from tests.demo.notices import compare_notices
from tests.demo.output import Progress, aligned
from tests.demo.requests import compare_requests
from tests.demo.traffic import REPEATS
from tests.harness.messages import WITHHELD, make_notice
from tests.harness.process import tail
from tests.harness.servers.homeserver import HomeserverError
from tests.harness.waiting import INTERRUPTED, run

HELD, DID_NOT_HOLD, NOT_SHOWN = 0, 1, 2

LOG_LINES = 20


def parse() -> argparse.Namespace:
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
    return parser.parse_args()


async def demonstrate(
    directory: Path, options: argparse.Namespace, progress: Progress
) -> int:
    started = perf_counter()
    demonstration = compare_notices
    if options.federation:
        demonstration = federate
    if options.requests:
        demonstration = compare_requests
    async with demonstration(directory, progress) as outcome:
        for check in outcome.checks:
            progress.say(f"  {check.verdict}")
        progress.say(f"Done in {perf_counter() - started:.0f} s.")
        print(aligned(outcome.table, markdown=options.markdown), flush=True)
        if options.keep:
            stock, module = outcome.casts
            await stock.homeserver.stop()
            for line in invitation(module):
                progress.say(line)
            # To be interrupted is how this is meant to end.
            with suppress(CancelledError):
                await Deferred()
            progress.say("Stopping.")
    return HELD if all(check.holds for check in outcome.checks) else DID_NOT_HOLD


def invitation(cast: Cast) -> Iterator[str]:
    """Say how to use the homeserver that runs on."""
    homeserver, sender, away = cast.homeserver, cast.people[REPEATS], cast.devices[0]
    notice = make_notice("any_key", sender.device_id)
    body = json.dumps({"messages": {away.user_id: {away.device_id: notice}}})
    path = f"/_matrix/client/v3/sendToDevice/{WITHHELD}/"
    yield ""
    yield f"Client API  {homeserver.base_url}"
    yield f"Metrics     {homeserver.metrics_url}"
    yield f"Sender      {sender.user_id}  access token {sender.access_token}"
    yield f"Recipient   {away.user_id}  access token {away.access_token}"
    yield f"Process ID  {homeserver.pid}"
    yield f"Settings    {homeserver.log_path.with_name('homeserver.yaml')}"
    yield ""
    yield "Send a notice (run it again: the second one collapses):"
    yield f"  curl -X PUT -H 'Authorization: Bearer {sender.access_token}' \\"
    yield f"    -d '{body}' \\"
    yield f"    {homeserver.base_url}{path}$RANDOM"
    yield "See what was decided:"
    yield f"  curl -s {homeserver.metrics_url} | grep ^synapse_withheld"
    yield ""
    yield "It runs until Ctrl-C, which stops it and deletes its data."


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
    options = parse()
    with tempfile.TemporaryDirectory(prefix="withheld-demo-") as directory:
        sys.exit(run(lambda: show(Path(directory), options, Progress())))
