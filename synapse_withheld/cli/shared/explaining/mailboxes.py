"""Mailboxes in memory, in which the module's own code decides about messages."""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from synapse_withheld.delivery.batch import WILDCARD, LocalMessages, ObservedBatch
from synapse_withheld.delivery.runtime import Runtime, at_once
from synapse_withheld.rules.mailbox import MailboxKey

# As far as the module's statements about mailboxes read Synapse's tables.
_TABLES = """
    CREATE TABLE devices (
        user_id TEXT, device_id TEXT, hidden BOOLEAN DEFAULT 0,
        PRIMARY KEY (user_id, device_id)
    );
    CREATE TABLE dehydrated_devices (user_id TEXT, device_id TEXT);
    CREATE TABLE users (name TEXT);
    CREATE TABLE device_lists_stream (stream_id INTEGER, user_id TEXT, device_id TEXT);
    CREATE TABLE device_lists_remote_cache (user_id TEXT, device_id TEXT);
    CREATE TABLE device_lists_remote_extremeties (user_id TEXT);
    CREATE TABLE device_lists_remote_resync (user_id TEXT);
    CREATE TABLE device_inbox (
        user_id TEXT, device_id TEXT, stream_id INTEGER, message_json TEXT
    );
    CREATE INDEX mailbox ON device_inbox (user_id, device_id, stream_id);
    CREATE TABLE scheduled_tasks (
        action TEXT, status TEXT, resource_id TEXT, params TEXT
    );
"""


class Cursor:
    """A transaction as the module's statements see it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()
        self.rowcount = -1

    def execute(self, sql: str, parameters: Any) -> None:
        """Run a statement."""
        self._cursor.execute(sql, parameters)
        self.rowcount = self._cursor.rowcount

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        return self._cursor.fetchall()


class Mailboxes:
    """What the module needs of a homeserver: mailboxes and a clock, nothing else.

    Whoever a message is for is taken to exist. Statements answer in `come_to_rest`,
    where time passes only as long as work in the background rests, and in `let_pass`.
    """

    # Devices read when a line says so.
    sees_reads = True
    database_driver = "sqlite3"

    def __init__(self) -> None:
        """Start with no device."""
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(_TABLES)
        self._clock = Clock()
        self._stream_id = 0
        self._device_list_id = 0
        # As from a database, no answer comes before whoever asked waits for it.
        self._turns: deque[Deferred[None]] = deque()
        # Until when somebody sleeps.
        self._sleeping: list[float] = []

    # What the module asks.

    def connection_of(self, _: Any) -> None:
        """Return nothing: no statement hangs here."""

    def runtime(self) -> Runtime:
        """Return how things run here: at once, until they wait for a statement."""
        return at_once(self._clock, self._sleep)

    def stream_token(self) -> int:
        """Return the position up to which readers see to-device messages."""
        return self._stream_id

    def device_list_id(self) -> int:
        """Return the position of the device list stream."""
        return self._device_list_id

    def reader_never_acknowledges(self, user_id: str) -> bool:  # noqa: ARG002 of nobody
        """Say that every reader acknowledges."""
        return False

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run one of the module's statements, in `come_to_rest`."""
        del description  # for the logs of a real homeserver
        turn: Deferred[None] = Deferred()
        self._turns.append(turn)
        await turn
        return function(Cursor(self._database), *arguments)

    # What happens.

    def come_to_rest(self) -> None:
        """Run the statements that wait, and those that follow from them."""
        while self._turns or self._sleeping:
            if self._turns:
                self._turns.popleft().callback(None)
            else:
                self._clock.advance(min(self._sleeping) - self._clock.seconds())

    def add_device(self, mailbox: MailboxKey) -> None:
        """Let a device exist, unless it does."""
        if mailbox[1] != WILDCARD:
            self._run("INSERT OR IGNORE INTO devices VALUES (?, ?, 0)", *mailbox)

    async def store(self, messages: LocalMessages) -> None:
        """Store messages as Synapse's store does."""
        self._stream_id += 1
        for user_id, by_device in messages.items():
            for device_id, message in by_device.items():
                for each in self._devices(user_id, device_id):
                    self._run(
                        "INSERT INTO device_inbox VALUES (?, ?, ?, ?)",
                        user_id,
                        each,
                        self._stream_id,
                        json.dumps(message),
                    )
        if isinstance(messages, ObservedBatch):
            messages.stream_id = self._stream_id

    def acknowledge(self, mailbox: MailboxKey) -> int:
        """Let a device read and acknowledge all it has; return how many messages."""
        where = "user_id = ? AND device_id = ?"
        count = self.count(*mailbox, where=where)
        self._run(f"DELETE FROM device_inbox WHERE {where}", *mailbox)  # noqa: S608
        return count

    def change_device(self, mailbox: MailboxKey) -> None:
        """Note a change of a device in its user's device list."""
        self._device_list_id += 1
        sql = "INSERT INTO device_lists_stream VALUES (?, ?, ?)"
        self._run(sql, self._device_list_id, *mailbox)

    def let_pass(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.advance(seconds)

    def count(self, *parameters: str, where: str = "TRUE") -> int:
        """Count the messages that are queued."""
        sql = f"SELECT COUNT(*) FROM device_inbox WHERE {where}"  # noqa: S608
        ((count,),) = self._run(sql, *parameters)
        return int(count)

    def _devices(self, user_id: str, device_id: str) -> list[str]:
        if device_id != WILDCARD:
            return [device_id]
        sql = "SELECT device_id FROM devices WHERE user_id = ?"
        return [each for (each,) in self._run(sql, user_id)]

    def _run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._database.execute(sql, parameters).fetchall()

    async def _sleep(self, seconds: float) -> None:
        until_s = self._clock.seconds() + seconds
        self._sleeping.append(until_s)
        awake: Deferred[None] = Deferred()
        self._clock.callLater(seconds, awake.callback, None)
        await awake
        self._sleeping.remove(until_s)
