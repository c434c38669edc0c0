"""A homeserver of five processes, as docs/workers.md has it, and one of them away."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable

import attrs
from twisted.internet.threads import deferToThread

from tests.harness.client import Client, MatrixError
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
from tests.harness.senders import (
    Persistent,
    notices_from,
    numbers_from,
    storm,
)
from tests.harness.servers.homeserver import mailbox
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import new_name, send
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


@async_yield_fixture(scope="module")
async def deployment(
    new_directory: Callable[[], Path],
    own_postgres: PostgresServer,
) -> AsyncIterator[Deployment]:
    made = Deployment.make(new_directory(), own_postgres.database())
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


@attrs.frozen
class Pair:
    """A sender at the writer, and a recipient who reads at the sync worker."""

    deployment: Deployment
    sender: Client
    recipient: Client

    def notice(self) -> dict[str, Any]:
        return make_notice(make_key(self.sender.user_id), self.sender.device_id)

    async def send(self, content: dict[str, Any], kind: str = WITHHELD) -> Any:
        return await send(self.sender, self.recipient, content, kind)

    def mailbox(self) -> list[dict[str, Any]]:
        return mailbox(self.deployment.main, self.recipient)

    async def collapsed(self) -> float:
        metrics = await module_metrics(self.deployment.workers[WRITER].metrics_url)
        return total(metrics, DECISIONS, decision="collapse")


@async_fixture()
async def pair(deployment: Deployment) -> Pair:
    sender = await deployment.main.register(new_name("sender"))
    recipient = await deployment.main.register(new_name("recipient"))
    return Pair(
        deployment, deployment.at(WRITER, sender), deployment.at(SYNC, recipient)
    )


@in_reactor
async def test_it_acts_in_the_writer_alone_and_one_sweeps(
    deployment: Deployment,
) -> None:
    """Each other process says why it does not, and tells nothing of a sweep."""
    synapses: dict[str, Any] = {"main": deployment.main, **deployment.workers}
    for name, each in synapses.items():
        metrics = await module_metrics(each.metrics_url)
        assert total(metrics, ACTIVE) == float(name == WRITER)
        assert any("_sweep_" in series for series in metrics) == (name == "main")
        log = each.log_path.read_text()
        process = "master" if name == "main" else name
        said = (
            "acts on to-device messages"
            if name == WRITER
            else f"does not act in this process: it is {process}, "
            f"and to-device messages are written by {WRITER}"
        )
        assert said in log


@in_reactor
async def test_the_rule_holds_from_the_writer_to_the_reader(pair: Pair) -> None:
    """Duplicates collapse until the other worker's reader has acknowledged."""
    before = await pair.collapsed()
    for _ in range(5):
        notice = await pair.send(pair.notice())
    await eventually(pair.mailbox, [notice])

    answer = await until(pair.recipient.sync, lambda each: "to_device" in each)
    assert answer["to_device"]["events"] == [notice]
    # Acknowledged at the sync worker; the writer learns of it from the database.
    await pair.recipient.sync(answer["next_batch"])
    await pair.send(pair.notice())
    assert pair.mailbox() == [notice]
    # On a machine that is too slow for the module's patience some supersede.
    assert 0 < await pair.collapsed() - before <= 4

    # After an Olm message it is stored, and the one before it goes.
    olm = make_olm_lookalike(make_key(pair.sender.user_id))
    encrypted = await pair.send(olm, ENCRYPTED)
    await pair.send(pair.notice())
    await eventually(pair.mailbox, [encrypted, notice])


@in_reactor
async def test_what_comes_by_federation_collapses_in_the_writer(
    pair: Pair, remote: RemoteServer
) -> None:
    receiver = pair.deployment.workers[RECEIVER]
    sender = remote.user("away")
    content = make_notice(make_key(sender), "THERE")
    messages = {pair.recipient.user_id: {pair.recipient.device_id: content}}
    before = await pair.collapsed()
    for _ in range(4):
        status, _ = await remote.send_edu(receiver, sender, WITHHELD, messages)
        assert status == 200
    await until(pair.collapsed, lambda number: number - before == 3)
    assert pair.mailbox() == [make_message(sender, content)]


@in_reactor
async def test_what_waits_for_another_server_collapses(
    pair: Pair, remote: RemoteServer
) -> None:
    """The federation sender has one EDU to send for each pair."""
    remote.refuses = True
    messages = {remote.user("recipient"): {"THERE": pair.notice()}}
    for _ in range(4):
        assert await pair.sender.send_to_device(WITHHELD, messages) == 200
    remote.refuses = False

    async def received() -> int:
        # Whoever is heard of is tried again.
        receiver = pair.deployment.workers[RECEIVER]
        await remote.send_edu(receiver, remote.user("herald"), "m.dummy", {})
        return len(remote.to_device())

    await until(received, bool)
    await pause(0.5)
    assert [edu["messages"] for edu in remote.to_device()] == [messages]


@in_reactor
async def test_the_pages_are_the_writers(deployment: Deployment) -> None:
    admin = await deployment.main.register(new_name("admin"), admin=True)
    path = "/_synapse/client/withheld/v1/status"
    assert (await deployment.at(SYNC, admin).request("GET", path))[0] == 404
    found = await deployment.at(WRITER, admin).succeed("GET", path)
    assert found["process"] == WRITER


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
