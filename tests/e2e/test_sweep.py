"""A backlog that stock Synapse made is surveyed, and swept by hand or by the module."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

from synapse_withheld.sweep.walk import Options
from tests.e2e.conftest import on_both_databases
from tests.harness.backlog import Table, must_stay
from tests.harness.commands import command_line
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.samples import failures, total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import (
    Site,
    Stage,
    Two,
    everything_tidied,
    two_on,
)
from tests.harness.waiting import eventually, until

DEVICES = 3
COPIES = 10


async def with_backlog(homeserver: Homeserver) -> Two:
    """Let devices of one user send another notices, mixed with other messages."""
    two = await two_on(homeserver)
    for copy in range(COPIES):
        for device in range(DEVICES):
            name = f"{two.sender.user_id} {device}"
            notice = make_notice(make_key(name), name, copy=copy)
            await two.send(notice)
        await two.send({"copy": copy}, PLAIN)
    return two


def table(homeserver: Homeserver, two: Two) -> Table:
    rows = homeserver.query(
        """
        SELECT user_id, device_id, stream_id, message_json FROM device_inbox
        WHERE user_id = ?
        """,
        (two.recipient.user_id,),
    )
    return {(user, device, stream_id): text for user, device, stream_id, text in rows}


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


async def begun(homeserver: Homeserver, before: Table, two: Two) -> None:
    await eventually(lambda: len(table(homeserver, two)) < len(before), expected=True)


@on_both_databases
@in_reactor
async def test_a_backlog_is_swept_while_synapse_runs(stock: Homeserver) -> None:
    """What a dry run says is what goes; what stays reaches the device in order."""
    two = await with_backlog(stock)
    before = table(stock, two)
    expected = must_stay(before, Options())
    code, dry = sweep(stock, "--dry-run")
    assert (code, before) == (0, table(stock, two))
    code, done = sweep(stock)
    assert (code, expected) == (0, set(table(stock, two)))
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
    before = table(stock, two)
    expected = must_stay(before, Options())
    noted = tmp_path / "place"
    for how in (signal.SIGKILL, signal.SIGTERM):
        there = table(stock, two)
        process = begin_sweep(stock, "--batch-size", "1", "--place", str(noted))
        await begun(stock, there, two)
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
        gone = len(there) - len(table(stock, two))
        if how == signal.SIGTERM:
            said = json.loads(output)
            assert (process.returncode, said["done"]) == (1, False)
            assert 0 < gone <= said["deleted"]
        assert json.loads(noted.read_text())["user_id"] == two.recipient.user_id
    assert expected < table(stock, two).keys() < before.keys()
    code, _ = sweep(stock, "--place", str(noted))
    assert (code, expected) == (0, set(table(stock, two)))
    assert not noted.exists()


@attrs.frozen
class Left:
    """What stock Synapse left: where its data is, whose, and which rows."""

    site: Site
    two: Two
    before: Table


@async_fixture(scope="module")
async def left(stage: Stage) -> Left:
    site = stage.site()
    stock = await stage.start(None, site=site)
    two = await with_backlog(stock)
    before = table(stock, two)
    await stock.stop()
    return Left(site, two, before)


async def with_module_after_stock(
    stage: Stage, left: Left, module: dict[str, Any]
) -> Homeserver:
    """Load the module on a copy of what stock Synapse left."""
    site = stage.site()
    shutil.copytree(left.site.directory, site.directory, dirs_exist_ok=True)
    return await stage.start(module, site=site)


@in_reactor
async def test_a_sweep_beside_the_module_that_goes_on(
    own_stage: Stage, left: Left
) -> None:
    """Nothing fails, and of each pair the newest is left; Olm messages all stay."""
    homeserver, two = await with_module_after_stock(own_stage, left, {}), left.two
    sender = attrs.evolve(two.sender, base_url=homeserver.base_url)
    again = attrs.evolve(two, homeserver=homeserver, sender=sender)
    process = begin_sweep(homeserver, "--batch-size", "3")
    sent = 0
    while process.poll() is None:
        name = f"{two.sender.user_id} {sent % DEVICES}"
        key = make_key(name)
        await again.send(make_notice(key, name, again=sent))
        olm = make_olm_lookalike(key)
        await again.send(olm, ENCRYPTED)
        sent += 1
    output, _ = process.communicate(timeout=60)
    await everything_tidied(homeserver)
    assert (process.returncode, await failures(homeserver)) == (0, 0)
    after = table(homeserver, two)
    assert must_stay(after, Options()) == after.keys()
    others = [text for text in after.values() if "m.no_olm" not in text]
    assert COPIES + sent == len(others)
    assert DEVICES == len(after) - len(others)
    assert sent > 0
    assert json.loads(output)["done"]


async def swept(homeserver: Homeserver) -> dict[str, float]:
    name = "synapse_withheld_sweep_done"
    return await until(homeserver.metrics, lambda told: total(told, name) == 1)


@in_reactor
async def test_the_module_sweeps_by_itself(own_stage: Stage, left: Left) -> None:
    homeserver = await with_module_after_stock(own_stage, left, {"sweep": True})
    two, before = left.two, left.before
    metrics = await swept(homeserver)
    expected = must_stay(before, Options())
    assert expected == table(homeserver, two).keys()
    gone = [text for place, text in before.items() if place not in expected]
    told = {
        name: total(metrics, f"synapse_withheld_sweep_{name}")
        for name in (
            *("rows_total", "notices_total", "deleted_total", "deleted_bytes_total"),
            "position",
        )
    }
    assert told == {
        "rows_total": len(before),
        "notices_total": DEVICES * COPIES,
        "deleted_total": len(gone),
        "deleted_bytes_total": sum(len(text.encode()) for text in gone),
        "position": 1,
    }
    assert await failures(homeserver) == 0


@in_reactor
async def test_in_observe_mode_nothing_goes_unless_that_is_asked_for(
    own_stage: Stage, left: Left
) -> None:
    """The module sweeps, and counts; by hand it is asked for by its name."""
    module = {"mode": "observe", "sweep": True}
    homeserver = await with_module_after_stock(own_stage, left, module)
    two, before = left.two, left.before
    metrics = await swept(homeserver)
    assert before == table(homeserver, two)
    assert total(metrics, "synapse_withheld_sweep_notices_total") == DEVICES * COPIES
    assert total(metrics, "synapse_withheld_sweep_deleted_bytes_total") == 0
    config = ("sweep", "-c", "homeserver.yaml", "--pause", "0")
    result = command_line(*config, directory=homeserver.log_path.parent)
    assert (result.returncode, result.stdout) == (2, "")
    assert "'mode' is observe" in result.stderr
    assert sweep(homeserver, "--dry-run")[0] == 0
    assert before == table(homeserver, two)
    assert sweep(homeserver)[0] == 0
    assert must_stay(before, Options()) == table(homeserver, two).keys()


@on_both_databases
@in_reactor
async def test_what_stock_synapse_left_is_surveyed(stock: Homeserver) -> None:
    """As the sweep finds it afterwards; and nothing changes."""
    two = await with_backlog(stock)
    before = table(stock, two)
    _, said = command(stock, "survey")
    assert before == table(stock, two)
    (mailbox,) = [
        each
        for each in said["inbox"]["longest"]
        if each["user_id"] == two.recipient.user_id
    ]
    rows = COPIES * (DEVICES + 1)
    assert (rows, 1) == (mailbox["rows"], mailbox["syncs"])
    shares = {each["type"]: each["share"] for each in mailbox["types"]}
    assert {WITHHELD: 0.75, PLAIN: 0.25} == shares
    _, dry = sweep(stock, "--dry-run")
    rule = said["rules"]["no_olm"]
    assert (dry["redundant"], dry["bytes"]) == (rule["rows"], rule["bytes"])
    assert dry["rows"] == said["inbox"]["rows"]
