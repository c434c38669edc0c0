"""Synapse's tables for the model tests, and what is in them."""

from __future__ import annotations

import functools
import json
import sqlite3
from typing import Any, Dict, Iterable, Mapping, Tuple

from synapse_withheld.cli.shared.explaining.mailboxes import TABLES

# (user ID, device ID)
Place = Tuple[str, str]

# By stream ID.
Rows = Dict[int, Dict[str, Any]]


RECEIVED = """
    CREATE TABLE device_federation_inbox (
        origin TEXT, message_id TEXT, UNIQUE (origin, message_id)
    );
"""

# Above every stream ID.
LATEST = 2**62

# Rows never change, and nobody changes what is read of them.
decode = functools.lru_cache(maxsize=1000)(json.loads)


class Tables:
    """The tables, and what Synapse does with them at once."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.executescript(TABLES + RECEIVED)
        self.next_device_list_id = 1

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement at once."""
        return self.database.execute(sql, parameters).fetchall()

    # Devices.

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
        sql = "INSERT INTO device_lists_remote_extremeties (user_id) VALUES (?)"
        self.rows(sql, user_id)
        for device_id in devices:
            sql = """
                INSERT INTO device_lists_remote_cache (user_id, device_id)
                VALUES (?, ?)
            """
            self.rows(sql, user_id, device_id)
            self.change_device(user_id, device_id)

    def remove_device(self, user_id: str, device_id: str) -> None:
        """Let a device log out, on whichever server."""
        for table in ("devices", "device_lists_remote_cache"):
            sql = f"DELETE FROM {table} WHERE user_id = ? AND device_id = ?"  # noqa: S608
            self.rows(sql, user_id, device_id)

    def change_device(self, user_id: str, device_id: str) -> None:
        """Note a change of a device in the device list's stream."""
        sql = "INSERT INTO device_lists_stream VALUES (?, ?, ?)"
        self.rows(sql, self.next_device_list_id, user_id, device_id)
        self.next_device_list_id += 1

    def doom(self, user_id: str, device_id: str, up_to: int) -> None:
        """Schedule the deletion of what waits for a device that was deleted."""
        params = {"user_id": user_id, "device_id": device_id, "up_to_stream_id": up_to}
        text = json.dumps(params, separators=(",", ":"))
        task = ("delete_device_messages", "active", device_id, text)
        columns = "action, status, resource_id, params"
        sql = f"INSERT INTO scheduled_tasks ({columns}) VALUES (?, ?, ?, ?)"  # noqa: S608
        self.rows(sql, *task)

    # Queues.

    def receive(self, origin: str, message_id: str) -> bool:
        """Note that an EDU came, and say whether it came for the first time."""
        sql = "INSERT OR IGNORE INTO device_federation_inbox VALUES (?, ?)"
        return self.database.execute(sql, (origin, message_id)).rowcount == 1

    def expand(
        self, local: Mapping[str, Mapping[str, Mapping[str, Any]]]
    ) -> dict[Place, Mapping[str, Any]]:
        """Return the rows that Synapse makes of a batch: of devices that exist."""
        rows: dict[Place, Mapping[str, Any]] = {}
        for user_id, by_device in local.items():
            is_for_all = list(by_device) == ["*"]
            for device_id in self.devices(user_id):
                named = "*" if is_for_all else device_id
                if named in by_device:
                    rows[user_id, device_id] = by_device[named]
        return rows

    def mailbox(
        self, user_id: str, device_id: str, after: int = 0, up_to: int = LATEST
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return stream ID and message of all rows of a mailbox, in order."""
        rows = self.rows(
            "SELECT stream_id, message_json FROM device_inbox WHERE user_id = ? "
            "AND device_id = ? AND stream_id > ? AND stream_id <= ? ORDER BY stream_id",
            user_id,
            device_id,
            after,
            up_to,
        )
        return [(stream_id, decode(text)) for stream_id, text in rows]

    def outbox(self, destination: str) -> list[tuple[int, dict[str, Any]]]:
        """Return stream ID and EDU of all rows of an outbox, in order."""
        rows = self.rows(
            "SELECT stream_id, messages_json FROM device_federation_outbox "
            "WHERE destination = ? ORDER BY stream_id",
            destination,
        )
        return [(stream_id, decode(text)) for stream_id, text in rows]

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
