"""A backlog that stock Synapse made is surveyed, and swept by hand or by the module."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import on_both_databases
from tests.harness.backlog import Table, must_stay
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.samples import failures, total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import Site, Stage, Two, everything_tidied, two_on
from tests.harness.waiting import pause, until

DEVICES, COPIES = 3, 10


def notice_of(two: Two, device: int, **more: Any) -> dict[str, Any]:
    """Return a notice of one of several devices of the sender."""
    name = f"{two.sender.user_id} {device}"
    return make_notice(make_key(name), name, **more)


async def with_backlog(homeserver: Homeserver) -> Two:
    """Let devices of one user send another notices, mixed with other messages."""
    two = await two_on(homeserver)
    for copy in range(COPIES):
        for device in range(DEVICES):
            await two.send(notice_of(two, device, copy=copy))
        await two.send({"copy": copy}, PLAIN)
    return two


async def left_by_stock(stage: Stage) -> tuple[Site, Two]:
    site = stage.site()
    stock = await stage.start(None, site=site)
    two = await with_backlog(stock)
    await stock.stop()
    return site, two


def table(two: Two) -> Table:
    sql = "SELECT user_id, device_id, stream_id, message_json FROM device_inbox"
    rows = two.homeserver.query(f"{sql} WHERE user_id = ?", (two.recipient.user_id,))
    return {(user, device, stream_id): text for user, device, stream_id, text in rows}


def begin(homeserver: Homeserver, *arguments: str) -> subprocess.Popen[str]:
    """Begin a command that walks."""
    command = [sys.executable, "-m", "synapse_withheld.cli", *arguments]
    return subprocess.Popen(  # noqa: S603 our own command
        [*command, "-c", "homeserver.yaml", "--json"],
        cwd=homeserver.log_path.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, Any]:
    """Return the exit code and what was counted."""
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    return process.returncode, json.loads(output)


def sweep(homeserver: Homeserver, how: str = "--enforce") -> tuple[int, Any]:
    return end(begin(homeserver, "sweep", "--pause", "0", how))


@on_both_databases
async def test_a_backlog_is_swept_while_synapse_runs(stock: Homeserver) -> None:
    """What a survey and a dry run say is what goes; what stays is given in order."""
    two = await with_backlog(stock)
    before = table(two)
    expected = must_stay(before)
    _, said = end(begin(stock, "survey", "--pause", "0"))
    code, dry = sweep(stock, "--dry-run")
    assert (code, before) == (0, table(two))
    rule = said["rules"]["no_olm"]
    assert (dry["redundant"], dry["bytes"]) == (rule["rows"], rule["bytes"])
    assert dry["rows"] == said["inbox"]["rows"]
    code, done = sweep(stock)
    assert (code, expected) == (0, set(table(two)))
    assert DEVICES + COPIES == len(expected)
    assert (done["deleted"], dry["bytes"]) == (dry["redundant"], done["bytes"])
    assert (done["done"], done["rows"]) == (True, dry["rows"])
    texts = [json.loads(before[place]) for place in sorted(expected)]
    assert texts == two.mailbox()
    assert sweep(stock)[1]["redundant"] == 0


async def test_a_killed_sweep_is_taken_up_again(
    own_stage: Stage, tmp_path: Path
) -> None:
    """From where it was, and beside the module that goes on: Olm messages all stay."""
    site, two = await left_by_stock(own_stage)
    homeserver = await own_stage.start({}, site=site)
    two.sender.base_url = homeserver.base_url
    noted = tmp_path / "place"

    command = ("sweep", "--enforce", "--place", str(noted), "--batch-size")
    for how in (signal.SIGKILL, signal.SIGTERM):
        there = len(table(two))
        process = begin(homeserver, *command, "1")
        while len(table(two)) == there and process.poll() is None:
            await pause()
        process.send_signal(how)
        process.wait(timeout=60)
        assert json.loads(noted.read_text())["user_id"] == two.recipient.user_id
    code, said = end(process)
    assert (code, said["done"]) == (1, False)
    assert 0 < there - len(table(two)) <= said["deleted"]

    process = begin(homeserver, *command, "3")
    sent = 0
    while process.poll() is None:
        notice = notice_of(two, sent % DEVICES, again=sent)
        await two.send(notice)
        await two.send(make_olm_lookalike(notice["sender_key"]), ENCRYPTED)
        sent += 1
    code, said = end(process)
    await everything_tidied(homeserver)
    assert (code, said["done"], await failures(homeserver)) == (0, True, 0)
    assert noted.read_text() == ""
    after = table(two)
    assert must_stay(after) == after.keys()
    others = [text for text in after.values() if "m.no_olm" not in text]
    assert (COPIES + sent, DEVICES) == (len(others), len(after) - len(others))
    assert sent > 0


async def swept(homeserver: Homeserver) -> tuple[float, ...]:
    """Wait until the module has swept; return how much of what it counted."""
    name = "synapse_withheld_sweep_"
    found = await until(
        homeserver.metrics, lambda found: total(found, f"{name}done") == 1
    )
    counted = ("rows", "notices", "deleted", "deleted_bytes")
    return tuple(total(found, f"{name}{each}_total") for each in counted)


async def test_the_module_sweeps_but_not_in_observe_mode(own_stage: Stage) -> None:
    """There it counts, as a dry run does."""
    site, two = await left_by_stock(own_stage)
    before = table(two)
    expected = must_stay(before)
    told = (len(before), DEVICES * COPIES)

    observing = await own_stage.start({"mode": "observe", "sweep": True}, site=site)
    assert (*told, 0, 0) == await swept(observing)
    assert sweep(observing, "--dry-run")[0] == 0
    assert before == table(two)
    await observing.stop()

    homeserver = await own_stage.start({"sweep": True}, site=site)
    gone = [text for place, text in before.items() if place not in expected]
    size = sum(len(text.encode()) for text in gone)
    assert (*told, len(gone), size) == await swept(homeserver)
    assert expected == table(two).keys()
    assert await failures(homeserver) == 0
