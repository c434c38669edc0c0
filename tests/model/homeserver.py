"""A homeserver for the model tests: real SQL, and every step taken by the test.

It has Synapse's tables and stores messages as Synapse's store does, but nothing
runs by itself: each statement waits until the test takes the step. So any order
in which a threaded database could answer can be played.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from typing import Any, Callable, Iterable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from synapse_withheld.delivery.batch import LocalMessages, ObservedBatch
from synapse_withheld.delivery.edus import Edus
from synapse_withheld.delivery.waiting import Runtime, at_once

TABLES = """
    CREATE TABLE devices (user_id TEXT, device_id TEXT, hidden BOOLEAN DEFAULT 0);
    CREATE TABLE dehydrated_devices (user_id TEXT, device_id TEXT);
    CREATE TABLE users (name TEXT);
    CREATE TABLE device_lists_stream (stream_id INTEGER, user_id TEXT, device_id TEXT);
    CREATE TABLE device_lists_remote_cache (user_id TEXT, device_id TEXT);
    CREATE TABLE device_lists_remote_extremeties (user_id TEXT);
    CREATE TABLE device_lists_remote_resync (user_id TEXT);
    CREATE TABLE device_federation_inbox (origin TEXT, message_id TEXT);
    CREATE TABLE device_inbox (
        user_id TEXT, device_id TEXT, stream_id INTEGER, message_json TEXT
    );
    CREATE TABLE device_federation_outbox (
        destination TEXT, stream_id INTEGER, messages_json TEXT
    );
    CREATE TABLE scheduled_tasks (
        action TEXT, status TEXT, resource_id TEXT, params TEXT
    );
"""


# Rows never change, and nobody changes what is read of them.
_decode = functools.lru_cache(maxsize=1000)(json.loads)


class Cursor:
    """A transaction as the module's statements see it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Open a cursor."""
        self._cursor = connection.cursor()
        self.rowcount = -1

    def execute(self, sql: str, parameters: Any) -> None:
        """Run a statement."""
        self._cursor.execute(sql, parameters)
        self.rowcount = self._cursor.rowcount

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows."""
        return self._cursor.fetchall()


@attrs.define
class Step:
    """A statement or a transaction that waits to be run."""

    name: str
    run: Callable[[], Any]
    done: Deferred[Any] = attrs.Factory(Deferred)


class ModelHomeserver:
    """The database, the stream of to-device messages, and the steps to come."""

    def __init__(self) -> None:
        """Create the tables."""
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.executescript(TABLES)
        self.clock = Clock()
        self.steps: list[Step] = []
        self.before_delete: Callable[[], Any] = lambda: None
        self.after_delete: Callable[[Any], None] = lambda _: None
        self.service_users: set[str] = set()
        self.next_stream_id = 1
        self.next_device_list_id = 1
        self.committed: set[int] = set()
        self._in_flight: set[int] = set()

    # What the module asks.

    def runtime(self) -> Runtime:
        """Return how things run here: at once, until they wait for a step."""
        return at_once(self.clock, self.sleep)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the clock of the test."""
        waking: Deferred[None] = Deferred()
        self.clock.callLater(seconds, waking.callback, None)
        await waking

    def stream_token(self) -> int:
        """Return the position up to which nothing is in flight."""
        return min(self._in_flight, default=self.next_stream_id) - 1

    def device_list_id(self) -> int:
        """Return the position of the device list stream."""
        return self.next_device_list_id - 1

    def reader_never_acknowledges(self, user_id: str) -> bool:
        """Say whether an application service reads a user's mailboxes."""
        return user_id in self.service_users

    async def run_statement(
        self, name: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run one of the module's statements, when the test takes the step."""

        def run() -> Any:
            if not name.startswith("withheld_delete_superseded"):
                return function(Cursor(self.database), *arguments)
            before = self.before_delete()
            result = function(Cursor(self.database), *arguments)
            self.after_delete(before)
            return result

        return await self._step(name, run)

    # What Synapse does.

    async def store(
        self, messages: LocalMessages, edu: tuple[str, str] | None = None
    ) -> int:
        """Store messages for local devices, as Synapse's store does.

        Args:
            messages: The batch.
            edu: Origin and message ID of an inbound EDU.
        """
        return await self._store(lambda at: self._insert(at, messages, edu))

    async def store_edus(self, edus: Edus, batch: ObservedBatch | None) -> int:
        """Store EDUs for other servers, as Synapse's store does.

        Args:
            edus: EDU content by destination.
            batch: Where the stream ID is noted.
        """

        def insert(stream_id: int) -> None:
            self.committed.add(stream_id)
            for destination, edu in edus.items():
                self.rows(
                    "INSERT INTO device_federation_outbox VALUES (?, ?, ?)",
                    destination,
                    stream_id,
                    json.dumps(edu, separators=(",", ":")),
                )

        stream_id = await self._store(insert)
        if batch is not None:
            batch.stream_id = stream_id
        return stream_id

    async def _store(self, insert: Callable[[int], None]) -> int:
        stream_id = self.next_stream_id
        self.next_stream_id += 1
        self._in_flight.add(stream_id)
        try:
            await self._step("store", lambda: insert(stream_id))
            # Others see the rows before whoever stored them goes on.
            await self._step("stored", lambda: None)
        finally:
            self._in_flight.discard(stream_id)
        return stream_id

    def _insert(
        self, stream_id: int, messages: LocalMessages, edu: tuple[str, str] | None
    ) -> None:
        self.committed.add(stream_id)
        if edu is not None:
            sql = "SELECT origin, message_id FROM device_federation_inbox"
            if edu in self.rows(sql):
                return
            self.rows("INSERT INTO device_federation_inbox VALUES (?, ?)", *edu)
        for user_id, by_device in messages.items():
            known = self.devices(user_id)
            lone_wildcard = list(by_device) == ["*"]
            for device_id in (
                known if lone_wildcard else [d for d in by_device if d in known]
            ):
                message = by_device["*" if lone_wildcard else device_id]
                self.rows(
                    "INSERT INTO device_inbox VALUES (?, ?, ?, ?)",
                    user_id,
                    device_id,
                    stream_id,
                    json.dumps(message, separators=(",", ":")),
                )
        if isinstance(messages, ObservedBatch):
            messages.stream_id = stream_id

    def devices(self, user_id: str) -> list[str]:
        """Return the devices of a user."""
        sql = "SELECT device_id FROM devices WHERE user_id = ?"
        return [row[0] for row in self.rows(sql, user_id)]

    def add_device(self, user_id: str, device_id: str) -> None:
        """Add a device, and tell the device list."""
        self.rows("INSERT INTO devices VALUES (?, ?, 0)", user_id, device_id)
        self.change_device(user_id, device_id)

    def register(self, user_id: str) -> None:
        """Let a user be one of this server."""
        self.rows("INSERT INTO users VALUES (?)", user_id)

    def track(self, user_id: str, devices: Iterable[str]) -> None:
        """Have a complete list of the devices of another server's user."""
        for table in ("extremeties", "cache"):
            sql = f"DELETE FROM device_lists_remote_{table} WHERE user_id = ?"  # noqa: S608
            self.rows(sql, user_id)
        self.rows("INSERT INTO device_lists_remote_extremeties VALUES (?)", user_id)
        for device_id in devices:
            sql = "INSERT INTO device_lists_remote_cache VALUES (?, ?)"
            self.rows(sql, user_id, device_id)
            self.change_device(user_id, device_id)

    def remove_device(self, user_id: str, device_id: str) -> None:
        """Let a device log out, on whichever server."""
        for table in ("devices", "device_lists_remote_cache"):
            sql = f"DELETE FROM {table} WHERE user_id = ? AND device_id = ?"  # noqa: S608
            self.rows(sql, user_id, device_id)

    def change_device(self, user_id: str, device_id: str) -> None:
        """Note a change of a device in the device list's stream."""
        self.rows(
            "INSERT INTO device_lists_stream VALUES (?, ?, ?)",
            self.next_device_list_id,
            user_id,
            device_id,
        )
        self.next_device_list_id += 1

    def mailbox(self, user_id: str, device_id: str) -> list[tuple[int, dict[str, Any]]]:
        """Return stream ID and message of all rows of a mailbox, in order."""
        rows = self.rows(
            "SELECT stream_id, message_json FROM device_inbox "
            "WHERE user_id = ? AND device_id = ? ORDER BY stream_id",
            user_id,
            device_id,
        )
        return [(stream_id, _decode(text)) for stream_id, text in rows]

    def outbox(self, destination: str) -> list[tuple[int, dict[str, Any]]]:
        """Return stream ID and EDU of all rows of an outbox, in order."""
        rows = self.rows(
            "SELECT stream_id, messages_json FROM device_federation_outbox "
            "WHERE destination = ? ORDER BY stream_id",
            destination,
        )
        return [(stream_id, _decode(text)) for stream_id, text in rows]

    def delete_sent(self, destination: str, token: int) -> None:
        """Delete what another server has acknowledged."""
        self.rows(
            "DELETE FROM device_federation_outbox "
            "WHERE destination = ? AND stream_id <= ?",
            destination,
            token,
        )

    def acknowledge(self, user_id: str, device_id: str, token: int) -> None:
        """Delete what a sync acknowledges."""
        self.rows(
            "DELETE FROM device_inbox "
            "WHERE user_id = ? AND device_id = ? AND stream_id <= ?",
            user_id,
            device_id,
            token,
        )

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement at once."""
        return self.database.execute(sql, parameters).fetchall()

    # What the test does.

    def take_step(self, which: int = 0, error: Exception | None = None) -> None:
        """Run one of the waiting steps, or let it fail."""
        step = self.steps.pop(which % len(self.steps))
        if error is not None:
            step.done.errback(error)
            return
        step.done.callback(step.run())

    def come_to_rest(self) -> None:
        """Take all steps there are."""
        while self.steps:
            self.take_step()

    def _step(self, name: str, run: Callable[[], Any]) -> Deferred[Any]:
        step = Step(name, run)
        self.steps.append(step)
        return step.done
