"""A homeserver of five processes, as docs/workers.md has it, and one of them away."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterator

import pytest
from twisted.internet.threads import deferToThread

from tests.harness.client import MatrixError
from tests.harness.commands import in_shell, program, shell_lines
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_message,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor
from tests.harness.samples import ACTIVE, DECISIONS, total
from tests.harness.senders import Persistent, notices_from, numbers_from, storm
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Two, new_name, two_on
from tests.harness.servers.workers import (
    PAGE,
    RECEIVER,
    SHARED,
    SYNC,
    WORKERS,
    WRITER,
    Deployment,
    module_metrics,
)
from tests.harness.waiting import eventually, pause, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.servers.postgres import PostgresServer

# Or the whole file is skipped.
program("redis-server")

MESSAGES = 60


@pytest.fixture(scope="module")
def own_postgres(
    postgres: PostgresServer, new_directory: Callable[[], Path]
) -> Iterator[PostgresServer]:
    """Run another PostgreSQL: others' Synapses would not like a restart."""
    server = type(postgres)(new_directory() / "postgres", durable=False)
    yield server
    server.stop()


@async_yield_fixture(scope="module")
async def deployment(
    new_directory: Callable[[], Path],
    own_postgres: PostgresServer,
) -> AsyncIterator[Deployment]:
    made = Deployment(new_directory(), own_postgres.database())
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@async_fixture()
async def two(deployment: Deployment) -> Two:
    """Return a sender at the writer, and a recipient who reads at the sync worker."""
    two = await two_on(deployment.main)
    two.sender.base_url = deployment.workers[WRITER].base_url
    two.recipient.base_url = deployment.workers[SYNC].base_url
    return two


async def collapsed(deployment: Deployment) -> float:
    metrics = await module_metrics(deployment.workers[WRITER].metrics_url)
    return total(metrics, DECISIONS, decision="collapse")


@in_reactor
async def test_it_acts_in_the_writer_alone_and_one_sweeps(
    deployment: Deployment,
) -> None:
    """Each other process says why it does not; the page is the writer's."""
    synapses: dict[str, Any] = {"main": deployment.main, **deployment.workers}
    for name, each in synapses.items():
        metrics = await module_metrics(each.metrics_url)
        assert total(metrics, ACTIVE) == float(name == WRITER)
        assert any("_sweep_" in series for series in metrics) == (name == "main")
        process = "master" if name == "main" else name
        said = (
            "acts on to-device messages"
            if name == WRITER
            else f"does not act in this process: it is {process}, "
            f"and to-device messages are written by {WRITER}"
        )
        assert said in each.log_path.read_text()

    admin = await deployment.main.register(new_name("admin"), admin=True)
    path = "/_synapse/client/withheld/v1/status"
    assert (await deployment.at(SYNC, admin).request("GET", path))[0] == 404
    found = await deployment.at(WRITER, admin).succeed("GET", path)
    assert found["process"] == WRITER


@in_reactor
async def test_the_rule_holds_from_the_writer_to_the_reader(
    deployment: Deployment, two: Two
) -> None:
    """Duplicates collapse until the other worker's reader has acknowledged."""
    before = await collapsed(deployment)
    for _ in range(5):
        notice = await two.send(two.notice())
    await eventually(two.mailbox, [notice])

    answer = await until(two.recipient.sync, lambda each: "to_device" in each)
    assert answer["to_device"]["events"] == [notice]
    # Acknowledged at the sync worker; the writer learns of it from the database.
    await two.recipient.sync(answer["next_batch"])
    await two.send(two.notice())
    assert two.mailbox() == [notice]
    # On a machine that is too slow for the module's patience some supersede.
    assert 0 < await collapsed(deployment) - before <= 4

    # After an Olm message it is stored, and the one before it goes.
    encrypted = await two.send(make_olm_lookalike(two.sender_key), ENCRYPTED)
    await two.send(two.notice())
    await eventually(two.mailbox, [encrypted, notice])


@in_reactor
async def test_what_comes_from_and_waits_for_another_server_collapses(
    deployment: Deployment, two: Two, remote: RemoteServer
) -> None:
    """In the writer: the federation sender has one EDU to send for each pair."""
    receiver = deployment.workers[RECEIVER]
    sender = remote.user("away")
    content = make_notice(make_key(sender), "THERE")
    messages = {two.recipient.user_id: {two.recipient.device_id: content}}
    before = await collapsed(deployment)
    for _ in range(4):
        status, _ = await remote.send_edu(receiver, sender, WITHHELD, messages)
        assert status == 200
    await until(lambda: collapsed(deployment), lambda number: number - before == 3)
    assert two.mailbox() == [make_message(sender, content)]

    remote.refuses = True
    messages = {sender: {"THERE": two.notice()}}
    for _ in range(4):
        assert await two.sender.send_to_device(WITHHELD, messages) == 200
    remote.refuses = False

    async def received() -> int:
        # Whoever is heard of is tried again.
        await remote.send_edu(receiver, remote.user("herald"), "m.dummy", {})
        return len(remote.to_device())

    await until(received, bool)
    await pause(0.5)
    assert [edu["messages"] for edu in remote.to_device()] == [messages]


@in_reactor
async def test_the_commands_of_the_page_know_the_writer(deployment: Deployment) -> None:
    """From the two files, and from all listeners."""
    told = {}
    for command in shell_lines(PAGE):
        line = deployment.with_its_ports(f"{command} --json")
        result = in_shell(line, deployment.directory)
        assert result.returncode == 0, result.stdout + result.stderr
        told[command.split()[1]] = json.loads(result.stdout)
    assert told["check"]["acting"] is True
    found = {each["question"]: each["found"] for each in told["check"]["findings"]}
    assert found["writer"] == WRITER
    processes = 1 + len(WORKERS)
    assert (told["status"]["processes"], told["status"]["active"]) == (processes, 1)

    files = [part for name in (SHARED, *WORKERS) for part in ("-c", f"{name}.yaml")]
    line = shlex.join(["synapse-withheld", "status", "--json", *files])
    result = in_shell(line, deployment.directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout) == told["status"]


@in_reactor
async def test_nothing_is_lost_while_a_process_or_the_database_is_away(
    deployment: Deployment, own_postgres: PostgresServer
) -> None:
    """Each in its turn, killed in the middle of a storm, and started again."""
    main = deployment.main
    recipient = await main.register(new_name("away"))
    senders = [
        Persistent(
            deployment.at(WRITER, await main.register(new_name("storm"))), recipient
        )
        for _ in range(4)
    ]
    async with storm(senders, MESSAGES):
        for victim in ("main", *WORKERS, "redis"):
            await deployment.everything[victim].kill()
            if victim == "redis":
                await pause(2)
            await deployment.everything[victim].start()
        await deferToThread(own_postgres.restart)

    reader = deployment.at(SYNC, recipient)
    read: list[dict[str, Any]] = []

    async def numbers() -> list[list[int]]:
        # It may take a while until the reader's worker hears of the newest, and finds
        # that its connections are broken.
        with suppress(MatrixError):
            read.extend((await reader.drain())[0])
        return [numbers_from(sender, read) for sender in senders]

    await until(numbers, lambda found: found == [sender.told for sender in senders])
    assert all(notices_from(sender, read) for sender in senders)
