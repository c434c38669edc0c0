"""Run the benchmark: `python -m tests.bench`.

The tables go to standard output, talk to standard error. Exits with 0 if all targets
about counts are met, 1 if one is not, 2 if something could not be measured, 130 if it
was interrupted. Timings never fail the run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, AsyncIterator, Sequence

import attrs

from tests.bench.alone import code, memory
from tests.bench.hostile import hostile
from tests.bench.instruments.counting import settled
from tests.bench.instruments.lanes import Lane, two_lanes
from tests.bench.report import Findings, Target, failed, render, summary
from tests.bench.requests import day, duplicates, ordinary, scale, storm
from tests.bench.sizes import FULL, QUICK, Sizes
from tests.bench.sweep import survey, sweep
from tests.harness.running import run
from tests.harness.together import together

COUNTED = {
    "duplicates": duplicates.measure,
    "ordinary": ordinary.measure,
}
PARTS = (
    "code",
    "memory",
    *COUNTED,
    "storm",
    "hostile",
    "day",
    "scale",
    "sweep",
    "survey",
)
MET, NOT_MET = 0, 1


@attrs.frozen
class Options:
    """What the command line says."""

    parts: tuple[str, ...]
    sizes: Sizes


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Compare what the module costs and saves with stock Synapse.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="see that it runs; not for the numbers"
    )
    parser.add_argument(
        "--only",
        metavar="PART",
        choices=PARTS,
        action="append",
        help=f"measure one part, may be repeated: {', '.join(PARTS)}",
    )
    parsed = parser.parse_args(arguments)
    parts = tuple(part for part in PARTS if part in (parsed.only or PARTS))
    return Options(parts, QUICK if parsed.quick else FULL)


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 that is what it is for


async def measure(  # noqa: C901 a part after the other
    options: Options, directory: Path
) -> AsyncIterator[Findings]:
    """Measure one part after the other."""
    sizes, parts = options.sizes, options.parts
    if "code" in parts:
        # Before anything else runs on this machine on our account.
        say("Timing the module's own code.")
        yield code.measure(sizes)
    if "memory" in parts:
        say("Weighing the index.")
        yield memory.measure(sizes)
    counted = [part for part in COUNTED if part in parts]
    if counted:
        say("Starting two Synapses that log their statements.")
        async with two_lanes(directory / "counting", log_statements=True) as lanes:
            await _settled(lanes)
            for part in counted:
                say(f"Counting: {part}.")
                yield await COUNTED[part](lanes, sizes)
    if "storm" in parts:
        for on_sqlite in (False, True):
            say("Sending storms of duplicates.")
            yield await _on_both(directory, storm, sizes, on_sqlite=on_sqlite)
    if "hostile" in parts:
        for on_sqlite in (True, False):
            say("Sending hostile requests.")
            yield await _on_both(directory, hostile, sizes, on_sqlite=on_sqlite)
    if "day" in parts:
        say("Starting two Synapses for the cost of a notice.")
        async with two_lanes(directory / "day", log_statements=False) as lanes:
            await _settled(lanes)
            yield await day.measure(lanes, sizes)
    if "scale" in parts:
        say("Starting two Synapses for what is large.")
        async with two_lanes(directory / "scale", log_statements=True) as lanes:
            await _settled(lanes)
            yield await scale.measure(lanes, sizes, say)
    if "sweep" in parts:
        say("Starting a stock Synapse on a new database.")
        yield await sweep.measure(directory / "sweep", sizes, say)
    if "survey" in parts:
        say("Starting a stock Synapse on a new database.")
        yield await survey.measure(directory / "survey", sizes, say)


async def _on_both(
    directory: Path, part: Any, sizes: Sizes, *, on_sqlite: bool
) -> Findings:
    """Start two Synapses on new databases, and measure a part of the benchmark."""
    kind = "sqlite" if on_sqlite else "postgres"
    place = directory / f"{part.__name__.rpartition('.')[2]}-{kind}"
    say(f"Starting two Synapses, on {kind}.")
    async with two_lanes(place, log_statements=False, on_sqlite=on_sqlite) as lanes:
        await _settled(lanes)
        findings: Findings = await part.measure(lanes, sizes, say)
    return findings


async def _settled(lanes: Sequence[Lane]) -> None:
    await together(*(settled(lane.homeserver) for lane in lanes))


async def bench(options: Options) -> int:
    """Measure and print; return the exit code."""
    started = time.monotonic()
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix="withheld-bench-") as directory:
        async for findings in measure(options, Path(directory)):
            targets += findings.targets
            for table in findings.tables:
                _show(render(table))
    _show(render(summary(targets)))
    say(f"Done in {time.monotonic() - started:.0f} s.")
    return NOT_MET if failed(targets) else MET


def _show(text: str) -> None:
    print(text + "\n", flush=True)  # noqa: T201 data goes to standard output


if __name__ == "__main__":
    chosen = parse(sys.argv[1:])
    sys.exit(run(lambda: bench(chosen)))
