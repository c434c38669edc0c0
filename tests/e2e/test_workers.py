"""A homeserver of five processes, as docs/workers.md has it, and one of them away."""

from __future__ import annotations

import json
import re
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterator

import attrs
import pytest
import yaml
from pytest_twisted import async_fixture, async_yield_fixture
from twisted.internet.threads import deferToThread

from tests.harness.client import Client, MatrixError
from tests.harness.commands import blocks, program, run, shell_lines
from tests.harness.messages import ENCRYPTED, WITHHELD, make_message, make_olm_lookalike
from tests.harness.process import Process
from tests.harness.samples import ACTIVE, DECISIONS, scrape, total
from tests.harness.senders import Persistent, notices_from, numbers_from, storm
from tests.harness.servers import settings
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.stage import Two, new_name, two_on
from tests.harness.waiting import eventually, pause, together, until

if TYPE_CHECKING:
    from tests.harness.servers.postgres import PostgresServer

REDIS = program("redis-server")  # or the whole file is skipped

PAGE = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
SHARED, RECEIVER = "homeserver", "federation_receiver"
WRITER, SYNC = "to_device", "sync"


@attrs.define
class Worker:
    command: list[str]
    base_url: str
    metrics_url: str
    _process: Process
    server_name: str = settings.SERVER_NAME

    @property
    def log_path(self) -> Path:
        return self._process.output

    async def start(self) -> None:
        self._process.start(*self.command)
        await self._process.answer(self.metrics_url)

    async def kill(self) -> None:
        self._process.kill()


class Deployment:
    """All processes of one homeserver, and Redis."""

    def __init__(self, directory: Path, database: dict[str, Any]) -> None:
        self.directory = directory
        numbers = sorted({*re.findall(r"port: (\d+)", PAGE)})
        ports = dict(zip(numbers, settings.reserve(len(numbers))))
        # With other ports, and on loopback.
        self.page = re.sub(
            r"(port: |127\.0\.0\.1:)(\d+)",
            lambda found: f"{found[1]}{ports[found[2]]}",
            PAGE.replace("{type: ", f"{{bind_addresses: [{settings.LOOPBACK}], type: "),
        )
        files = (text for kind, text in blocks(self.page) if kind == "yaml")
        shared, *workers = map(yaml.safe_load, files)
        shared["worker_replication_secret"] = "s"  # noqa: S105 on loopback
        shared["modules"][0]["config"] = {"sweep": True}
        self.main = Homeserver(directory, database=database, config=shared)
        self.workers = {each["worker_name"]: self._worker(each) for each in workers}
        listens = f"--bind {settings.LOOPBACK} --port {ports['6379']}"
        command = (REDIS, *listens.split(), "--save", "", "--appendonly", "no")
        self.redis = Process(directory, directory / "redis.log")
        self.start_redis = partial(self.redis.start, *command)
        self.synapses: dict[str, Any] = {"main": self.main, **self.workers}

    def _worker(self, config: dict[str, Any]) -> Worker:
        own, shared = f"{config['worker_name']}.yaml", f"{SHARED}.yaml"
        (self.directory / own).write_text(yaml.safe_dump(config))
        command = [sys.executable, "-m", config["worker_app"], "-c", shared, "-c", own]
        # The first for HTTP is for clients or other servers, another for replication.
        listeners = reversed(config["worker_listeners"])
        at = f"http://{settings.LOOPBACK}:"
        urls = {each["type"]: f"{at}{each['port']}" for each in listeners}
        metrics_url = f"{urls['metrics']}/_synapse/metrics"
        process = Process(self.directory, self.directory / f"{own}.log")
        # Nobody asks the federation sender.
        return Worker(command, urls.get("http", ""), metrics_url, process)

    async def start(self) -> None:
        # Who connects to Redis tries until it is there.
        self.start_redis()
        # It makes the tables.
        await self.main.start()
        await together(*(each.start() for each in self.workers.values()))

    async def stop(self) -> None:
        await self.main.stop()
        for each in self.workers.values():
            await each.kill()
        self.redis.kill()

    def at(self, name: str, client: Client) -> Client:
        """Return a client that talks to one of the workers."""
        return attrs.evolve(client, base_url=self.workers[name].base_url)


async def module_metrics(url: str) -> dict[str, float]:
    """Return what a metrics listener tells, once it tells of the module."""
    return await until(lambda: scrape(url), lambda found: ACTIVE in found)


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
    new_directory: Callable[[], Path], own_postgres: PostgresServer
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


async def test_it_acts_in_the_writer_and_one_sweeps(deployment: Deployment) -> None:
    """Each other process says why it does not; the page is the writer's."""
    for name, each in deployment.synapses.items():
        metrics = await module_metrics(each.metrics_url)
        assert total(metrics, ACTIVE) == float(name == WRITER)
        assert any("_sweep_" in series for series in metrics) == (name == "main")
        process = "master" if name == "main" else name
        said = f"it is {process}, and to-device messages are written by {WRITER}"
        expected = "acts on to-device messages" if name == WRITER else said
        assert expected in each.log_path.read_text()

    admin = await deployment.main.register(new_name("admin"), admin=True)
    path = "/_synapse/client/withheld/v1/status"
    assert (await deployment.at(SYNC, admin).request("GET", path))[0] == 404
    found = await deployment.at(WRITER, admin).succeed("GET", path)
    assert found["process"] == WRITER


async def test_the_rule_holds_with_workers(deployment: Deployment, two: Two) -> None:
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


async def test_what_comes_from_and_waits_for_another_server_collapses(
    deployment: Deployment, two: Two, remote: RemoteServer
) -> None:
    """In the writer: the federation sender has one EDU to send for each pair."""
    receiver = deployment.workers[RECEIVER]
    abroad, content = remote.user("away"), two.notice()
    messages = {two.recipient.user_id: {two.recipient.device_id: content}}
    before = await collapsed(deployment)
    for _ in range(4):
        status, _ = await remote.send_edu(receiver, abroad, WITHHELD, messages)
        assert status == 200
    await until(lambda: collapsed(deployment), lambda number: number - before == 3)
    assert two.mailbox() == [make_message(abroad, content)]

    remote.refuses = True
    messages = {abroad: {"THERE": content}}
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


async def test_the_commands_of_the_page_know_the_writer(deployment: Deployment) -> None:
    """From the two files, and from all listeners."""
    files = "".join(f" -c {name}.yaml" for name in (SHARED, *deployment.workers))
    commands = [*shell_lines(deployment.page), f"synapse-withheld status{files}"]
    check, *statuses = (
        json.loads(run(f"{each} --json", deployment.directory)) for each in commands
    )
    assert check["acting"] is True
    found = {each["question"]: each["found"] for each in check["findings"]}
    assert found["writer"] == WRITER
    for each in statuses:
        assert (each["processes"], each["active"]) == (len(deployment.synapses), 1)


async def test_nothing_is_lost_while_a_process_or_the_database_is_away(
    deployment: Deployment, own_postgres: PostgresServer
) -> None:
    """Each in its turn, killed in the middle of a storm, and started again."""
    main = deployment.main
    recipient = await main.register(new_name("away"))
    writers = [
        deployment.at(WRITER, await main.register(new_name("storm"))) for _ in range(4)
    ]
    senders = [Persistent(each, recipient) for each in writers]
    async with storm(senders, at_least=60):
        for each in deployment.synapses.values():
            await each.kill()
            await each.start()
        deployment.redis.kill()
        await pause(2)
        deployment.start_redis()
        await deferToThread(own_postgres.restart)

    reader = deployment.at(SYNC, recipient)
    read: list[dict[str, Any]] = []

    async def numbers() -> list[list[int]]:
        # It may take a while until the reader's worker hears of the newest, and finds
        # that its connections are broken.
        with suppress(MatrixError):
            read.extend(await reader.drain())
        return [numbers_from(sender, read) for sender in senders]

    await until(numbers, lambda found: found == [sender.told for sender in senders])
    assert all(notices_from(sender, read) for sender in senders)
