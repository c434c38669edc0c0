"""A backlog that stock Synapse made is surveyed, and swept by hand or by the module."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from synapse_withheld.sweep.walk import Options
from tests.e2e.conftest import on_both_databases
from tests.harness.backlog import Table, must_stay
from tests.harness.commands import command_line
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import in_reactor
from tests.harness.samples import failures, total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import Site, Stage, Two, everything_tidied, two_on
from tests.harness.waiting import eventually, until

DEVICES = 3
COPIES = 10


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


def table(two: Two) -> Table:
    rows = two.homeserver.query(
        """
        SELECT user_id, device_id, stream_id, message_json FROM device_inbox
        WHERE user_id = ?
        """,
        (two.recipient.user_id,),
    )
    return {(user, device, stream_id): text for user, device, stream_id, text in rows}


async def left_by_stock(stage: Stage, site: Site) -> Two:
    stock = await stage.start(None, site=site)
    two = await with_backlog(stock)
    await stock.stop()
    return two


def command(homeserver: Homeserver, name: str, *more: str) -> tuple[int, Any]:
    """Run a command to its end; return the exit code and what was counted."""
    arguments = (name, "-c", "homeserver.yaml", "--pause", "0", "--json", *more)
    result = command_line(*arguments, directory=homeserver.log_path.parent)
    assert result.stderr == ""
    return result.returncode, json.loads(result.stdout)


def sweep(homeserver: Homeserver, *arguments: str) -> tuple[int, dict[str, Any]]:
    how = arguments if "--dry-run" in arguments else ("--enforce", *arguments)
    return command(homeserver, "sweep", *how)


def begin_sweep(homeserver: Homeserver, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "synapse_withheld.cli", "sweep"]
    return subprocess.Popen(  # noqa: S603 our own command
        [*command, "-c", "homeserver.yaml", "--json", "--enforce", *arguments],
        cwd=homeserver.log_path.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


async def begun(two: Two, there: int) -> None:
    await eventually(lambda: len(table(two)) < there, True)


@on_both_databases
@in_reactor
async def test_a_backlog_is_swept_while_synapse_runs(stock: Homeserver) -> None:
    """What a survey and a dry run say is what goes; what stays is given in order."""
    two = await with_backlog(stock)
    before = table(two)
    expected = must_stay(before, Options())
    _, said = command(stock, "survey")
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


@in_reactor
async def test_a_sweep_that_is_killed_or_asked_to_end_is_taken_up_again(
    stock: Homeserver, tmp_path: Path
) -> None:
    """From where it was; and who is asked says what it did, and that it is not done."""
    two = await with_backlog(stock)
    before = table(two)
    expected = must_stay(before, Options())
    noted = tmp_path / "place"
    for how in (signal.SIGKILL, signal.SIGTERM):
        there = len(table(two))
        process = begin_sweep(stock, "--batch-size", "1", "--place", str(noted))
        await begun(two, there)
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
        gone = there - len(table(two))
        if how == signal.SIGTERM:
            said = json.loads(output)
            assert (process.returncode, said["done"]) == (1, False)
            assert 0 < gone <= said["deleted"]
        assert json.loads(noted.read_text())["user_id"] == two.recipient.user_id
    assert expected < table(two).keys() < before.keys()
    code, _ = sweep(stock, "--place", str(noted))
    assert (code, expected) == (0, set(table(two)))
    assert noted.read_text() == ""


@in_reactor
async def test_a_sweep_beside_the_module_that_goes_on(own_stage: Stage) -> None:
    """Nothing fails, and of each pair the newest is left; Olm messages all stay."""
    site = own_stage.site()
    two = await left_by_stock(own_stage, site)
    homeserver = await own_stage.start({}, site=site)
    two.sender.base_url = homeserver.base_url
    process = begin_sweep(homeserver, "--batch-size", "3")
    sent = 0
    while process.poll() is None:
        notice = notice_of(two, sent % DEVICES, again=sent)
        await two.send(notice)
        await two.send(make_olm_lookalike(notice["sender_key"]), ENCRYPTED)
        sent += 1
    output, _ = process.communicate(timeout=60)
    await everything_tidied(homeserver)
    assert (process.returncode, await failures(homeserver)) == (0, 0)
    after = table(two)
    assert must_stay(after, Options()) == after.keys()
    others = [text for text in after.values() if "m.no_olm" not in text]
    assert COPIES + sent == len(others)
    assert DEVICES == len(after) - len(others)
    assert sent > 0
    assert json.loads(output)["done"]


async def swept(homeserver: Homeserver) -> dict[str, float]:
    """Wait until the module has swept; return how much of what it counted."""
    name = "synapse_withheld_sweep_"
    found = await until(
        homeserver.metrics, lambda found: total(found, f"{name}done") == 1
    )
    counted = ("rows", "notices", "deleted", "deleted_bytes")
    return {each: total(found, f"{name}{each}_total") for each in counted}


@in_reactor
async def test_the_module_sweeps_by_itself_but_not_in_observe_mode(
    own_stage: Stage,
) -> None:
    """There it counts; and a sweep by hand has to be asked for by its name."""
    site = own_stage.site()
    two = await left_by_stock(own_stage, site)
    before = table(two)
    expected = must_stay(before, Options())
    told = {"rows": len(before), "notices": DEVICES * COPIES}

    observing = await own_stage.start({"mode": "observe", "sweep": True}, site=site)
    assert {**told, "deleted": 0, "deleted_bytes": 0} == await swept(observing)
    config = ("sweep", "-c", "homeserver.yaml", "--pause", "0")
    result = command_line(*config, directory=site.directory)
    assert (result.returncode, result.stdout) == (2, "")
    assert "'mode' is observe" in result.stderr
    assert sweep(observing, "--dry-run")[0] == 0
    assert before == table(two)
    await observing.stop()

    homeserver = await own_stage.start({"sweep": True}, site=site)
    gone = [text for place, text in before.items() if place not in expected]
    told |= {"deleted": len(gone)}
    told |= {"deleted_bytes": sum(len(text.encode()) for text in gone)}
    assert told == await swept(homeserver)
    assert expected == table(two).keys()
    assert await failures(homeserver) == 0
