"""What was queued before: swept by hand or by the module, found by the next notice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.conftest import on_both_databases
from tests.harness.backlog import Table, must_stay
from tests.harness.commands import run
from tests.harness.messages import (
    ENCRYPTED,
    PLAIN,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.samples import total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.stage import Site, Stage, Two, everything_tidied, two_on
from tests.harness.waiting import eventually, pause, until

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


def told(homeserver: Homeserver, command: str) -> Any:
    """Return what a command that walks has counted in the end."""
    line = f"synapse-withheld {command} --pause 0 -c homeserver.yaml --json"
    return json.loads(run(line, homeserver.log_path.parent))


@on_both_databases
async def test_a_backlog_is_swept_while_synapse_runs(stock: Homeserver) -> None:
    """What a survey and a dry run say is what goes; what stays is given in order."""
    two = await with_backlog(stock)
    before = table(two)
    expected = must_stay(before)
    survey, dry = told(stock, "survey"), told(stock, "sweep --dry-run")
    assert before == table(two)
    rule = survey["rules"]["no_olm"]
    assert (dry["redundant"], dry["bytes"]) == (rule["rows"], rule["bytes"])
    assert dry["rows"] == survey["inbox"]["rows"]
    done = told(stock, "sweep --enforce")
    assert expected == set(table(two))
    assert DEVICES + COPIES == len(expected)
    assert (done["deleted"], dry["bytes"]) == (dry["redundant"], done["bytes"])
    assert (done["done"], done["rows"]) == (True, dry["rows"])
    texts = [json.loads(before[place]) for place in sorted(expected)]
    assert texts == two.mailbox()
    assert told(stock, "sweep --dry-run")["redundant"] == 0


async def test_a_killed_sweep_is_taken_up_again(
    own_stage: Stage, tmp_path: Path
) -> None:
    """From where it was, and beside the module that goes on: Olm messages all stay."""
    site, two = await left_by_stock(own_stage)
    homeserver = await own_stage.start({}, site=site)
    two.sender.base_url = homeserver.base_url
    noted = tmp_path / "place"

    def begin(batch_size: int) -> subprocess.Popen[str]:
        sweep = "sweep --enforce -c homeserver.yaml --json --batch-size"
        options = [*sweep.split(), str(batch_size), "--place", str(noted)]
        return subprocess.Popen(  # noqa: S603 our own command
            [sys.executable, "-m", "synapse_withheld.cli", *options],
            cwd=site.directory,
            stdout=subprocess.PIPE,
            text=True,
        )

    for how in (signal.SIGKILL, signal.SIGTERM):
        there = len(table(two))
        process = begin(1)
        while len(table(two)) == there and process.poll() is None:
            await pause()
        process.send_signal(how)
        output, _ = process.communicate(timeout=60)
        assert json.loads(noted.read_text())["user_id"] == two.recipient.user_id
    said = json.loads(output)
    assert (process.returncode, said["done"]) == (1, False)
    assert 0 < there - len(table(two)) <= said["deleted"]

    process, sent = begin(3), 0
    while process.poll() is None:
        notice = notice_of(two, sent % DEVICES, again=sent)
        await two.send(notice)
        await two.send(make_olm_lookalike(notice["sender_key"]), ENCRYPTED)
        sent += 1
    said = json.loads(process.communicate()[0])
    await everything_tidied(homeserver)
    assert (process.returncode, said["done"], noted.read_text()) == (0, True, "")
    after = table(two)
    assert must_stay(after) == after.keys()
    others = [text for text in after.values() if "m.no_olm" not in text]
    assert (COPIES + sent, DEVICES) == (len(others), len(after) - len(others))
    assert sent > 0
    assert await homeserver.failures() == 0


async def swept(homeserver: Homeserver) -> tuple[float, ...]:
    """Wait until the module has swept; return how much of what it counted."""
    done, counted = "synapse_withheld_sweep_done", "synapse_withheld_sweep_{}_total"
    metrics = await until(homeserver.metrics, lambda found: total(found, done) == 1)
    of = ("rows", "notices", "deleted", "deleted_bytes")
    return tuple(total(metrics, counted.format(each)) for each in of)


async def test_the_module_sweeps_but_not_in_observe_mode(own_stage: Stage) -> None:
    """There it counts, as a dry run does."""
    site, two = await left_by_stock(own_stage)
    before = table(two)
    expected = must_stay(before)
    found = (len(before), DEVICES * COPIES)

    observing = await own_stage.start({"mode": "observe", "sweep": True}, site=site)
    assert (*found, 0, 0) == await swept(observing)
    assert told(observing, "sweep --dry-run")["deleted"] == 0
    assert before == table(two)
    await observing.stop()

    homeserver = await own_stage.start({"sweep": True}, site=site)
    gone = [text for place, text in before.items() if place not in expected]
    size = sum(len(text.encode()) for text in gone)
    assert (*found, len(gone), size) == await swept(homeserver)
    assert expected == table(two).keys()
    assert await homeserver.failures() == 0


@on_both_databases
async def test_backlog_from_before_a_restart_collapses(homeserver: Homeserver) -> None:
    """Olm messages may have been missed meanwhile: the newest notice stays."""
    two = await two_on(homeserver)
    await two.send(two.notice(reason="before"))
    plain = await two.send({"number": 1}, PLAIN)
    other = await two.send(two.notice(from_device="OTHERDEV"))
    await homeserver.restart()
    async with homeserver.counted() as decided:
        after = await two.send(two.notice(reason="after"))
        await eventually(two.mailbox, [plain, other, after])
        await two.send(two.notice(reason="again"))
        # Of this pair only the first reading knows: nobody watched it either.
        newest = await two.send(two.notice(from_device="OTHERDEV", reason="after"))
        await eventually(two.mailbox, [plain, after, newest])
    # What was queued before is found once the first is stored.
    assert decided == {"deliver": 1, "supersede": 1, "collapse": 1}
