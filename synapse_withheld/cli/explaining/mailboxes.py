"""Mailboxes in memory, in which the module's own code decides about messages."""

from __future__ import annotations

import json
import sqlite3
from functools import partial
from typing import Any, Callable

from twisted.internet.task import Clock, deferLater

from synapse_withheld.delivery.batch import LocalMessages, ObservedBatch
from synapse_withheld.delivery.runtime import Runtime, at_once
from synapse_withheld.rules.mailbox import WILDCARD, MailboxKey

# Synapse's tables, as far as the module's statements read them, and their indexes: as
# in its schema 72 and the deltas since, on SQLite and on PostgreSQL.
TABLES = """
    CREATE TABLE devices (
        user_id TEXT, device_id TEXT, hidden BOOLEAN DEFAULT FALSE,
        UNIQUE (user_id, device_id)
    );
    CREATE TABLE dehydrated_devices (user_id TEXT PRIMARY KEY, device_id TEXT);
    CREATE TABLE users (name TEXT UNIQUE);
    CREATE TABLE device_lists_stream (stream_id BIGINT, user_id TEXT, device_id TEXT);
    CREATE INDEX device_lists_stream_user_id
        ON device_lists_stream (user_id, device_id);
    CREATE TABLE device_lists_remote_cache (
        user_id TEXT, device_id TEXT, content TEXT
    );
    CREATE UNIQUE INDEX device_lists_remote_cache_unique_id
        ON device_lists_remote_cache (user_id, device_id);
    CREATE TABLE device_lists_remote_extremeties (user_id TEXT, stream_id TEXT);
    CREATE UNIQUE INDEX device_lists_remote_extremeties_unique_idx
        ON device_lists_remote_extremeties (user_id);
    CREATE TABLE device_lists_remote_resync (user_id TEXT, added_ts BIGINT);
    CREATE UNIQUE INDEX device_lists_remote_resync_idx
        ON device_lists_remote_resync (user_id);
    CREATE TABLE device_inbox (
        user_id TEXT, device_id TEXT, stream_id BIGINT, message_json TEXT
    );
    CREATE INDEX device_inbox_user_stream_id
        ON device_inbox (user_id, device_id, stream_id);
    CREATE INDEX device_inbox_stream_id_user_id ON device_inbox (stream_id, user_id);
    CREATE TABLE device_federation_outbox (
        destination TEXT, stream_id BIGINT, queued_ts BIGINT, messages_json TEXT,
        instance_name TEXT
    );
    CREATE INDEX device_federation_outbox_destination_id
        ON device_federation_outbox (destination, stream_id);
    CREATE INDEX device_federation_outbox_id ON device_federation_outbox (stream_id);
    CREATE TABLE scheduled_tasks (
        id TEXT PRIMARY KEY, action TEXT, status TEXT, resource_id TEXT, params TEXT
    );
    CREATE INDEX scheduled_tasks_status ON scheduled_tasks (status);
"""


class Mailboxes:
    """What the module needs of a homeserver: mailboxes and a clock, nothing else.

    Whoever a message is for is taken to exist, and statements answer at once.
    """

    # Devices read when a line says so.
    sees_reads = True
    database_driver = "sqlite3"

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(TABLES)
        self._clock = Clock()
        self._stream_id = 0
        self._device_list_id = 0

    # What the module asks.

    def connection_of(self, _: Any) -> None:
        """Return nothing: no statement hangs here."""

    def runtime(self) -> Runtime:
        return at_once(self._clock, partial(deferLater, self._clock))

    def stream_token(self) -> int:
        return self._stream_id

    def device_list_id(self) -> int:
        return self._device_list_id

    def reader_never_acknowledges(self, user_id: str) -> bool:  # noqa: ARG002 nobody's
        return False

    async def run_statement(
        self,
        description: str,  # noqa: ARG002 for the logs of a real homeserver
        function: Callable[..., Any],
        *arguments: Any,
    ) -> Any:
        return function(self._database.cursor(), *arguments)

    # What happens.

    def come_to_rest(self) -> None:
        """Let time pass as long as work in the background rests."""
        while calls := self._clock.getDelayedCalls():
            self.let_pass(min(each.getTime() for each in calls) - self._clock.seconds())

    def let_pass(self, seconds: float) -> None:
        self._clock.advance(seconds)

    def add_device(self, mailbox: MailboxKey) -> None:
        if mailbox[1] != WILDCARD:
            sql = "INSERT OR IGNORE INTO devices (user_id, device_id) VALUES (?, ?)"
            self._run(sql, *mailbox)

    def change_device(self, mailbox: MailboxKey) -> None:
        self._device_list_id += 1
        sql = "INSERT INTO device_lists_stream VALUES (?, ?, ?)"
        self._run(sql, self._device_list_id, *mailbox)

    async def store(self, messages: LocalMessages) -> None:
        """Store messages of the devices that exist, as Synapse's store does."""
        self._stream_id += 1
        for user_id, by_device in messages.items():
            for device_id, message in by_device.items():
                self._run(
                    """
                    INSERT INTO device_inbox
                    SELECT user_id, device_id, ?, ? FROM devices
                    WHERE user_id = ? AND ? IN (device_id, '*')
                    """,
                    *(self._stream_id, json.dumps(message), user_id, device_id),
                )
        if isinstance(messages, ObservedBatch):
            messages.stream_id = self._stream_id

    def acknowledge(self, mailbox: MailboxKey) -> int:
        """Let a device read and acknowledge all it has; return how many messages."""
        sql = "DELETE FROM device_inbox WHERE user_id = ? AND device_id = ?"
        return self._database.execute(sql, mailbox).rowcount

    def count(self) -> int:
        return int(self._run("SELECT COUNT(*) FROM device_inbox")[0][0])

    def _run(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._database.execute(sql, parameters).fetchall()
