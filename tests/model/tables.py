"""Synapse's tables for the model tests, and what Synapse does with them at once."""

from __future__ import annotations

import functools
import json
import sqlite3
from typing import Any, Dict, Mapping, Tuple

from synapse_withheld.cli.explaining.mailboxes import TABLES

# (user ID, device ID)
Place = Tuple[str, str]

# Messages for local devices, EDUs by destination: as Synapse's store takes them.
Local = Mapping[str, Mapping[str, Mapping[str, Any]]]
Edus = Mapping[str, Mapping[str, Any]]

# Messages or EDUs by stream ID, in order.
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
    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.database.executescript(TABLES + RECEIVED)
        self.next_device_list_id = 1

    def rows(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.database.execute(sql, parameters).fetchall()

    # Devices.

    def devices(self, user_id: str) -> list[str]:
        sql = "SELECT device_id FROM devices WHERE user_id = ?"
        # No database takes half of a surrogate pair.
        known = self.rows(sql, user_id.encode(errors="replace").decode())
        return [device_id for (device_id,) in known]

    def add_device(self, user_id: str, device_id: str) -> None:
        self.rows("INSERT INTO devices VALUES (?, ?, 0)", user_id, device_id)
        self.change_device(user_id, device_id)

    def register(self, user_id: str) -> None:
        self.rows("INSERT INTO users VALUES (?)", user_id)

    def track(self, user_id: str, device_id: str) -> None:
        """Know of another server's user that this is the only device."""
        self.rows("DELETE FROM device_lists_remote_cache WHERE user_id = ?", user_id)
        sql = "INSERT INTO device_lists_remote_cache VALUES (?, ?, NULL)"
        self.rows(sql, user_id, device_id)
        sql = "INSERT OR REPLACE INTO device_lists_remote_extremeties VALUES (?, '')"
        self.rows(sql, user_id)
        self.change_device(user_id, device_id)

    def remove_device(self, user_id: str, device_id: str) -> None:
        for table in ("devices", "device_lists_remote_cache"):
            sql = f"DELETE FROM {table} WHERE user_id = ? AND device_id = ?"  # noqa: S608
            self.rows(sql, user_id, device_id)

    def change_device(self, user_id: str, device_id: str) -> None:
        sql = "INSERT INTO device_lists_stream VALUES (?, ?, ?)"
        self.rows(sql, self.next_device_list_id, user_id, device_id)
        self.next_device_list_id += 1

    def doom(self, user_id: str, device_id: str, up_to: int) -> None:
        """Schedule the deletion of what waits for a device that was deleted."""
        params = {"user_id": user_id, "device_id": device_id, "up_to_stream_id": up_to}
        sql = "INSERT INTO scheduled_tasks VALUES (NULL, ?, 'active', ?, ?)"
        self.rows(sql, "delete_device_messages", device_id, compact(params))

    # Queues.

    def receive(self, origin: str, message_id: str) -> bool:
        """Note that an EDU came, and say whether it came for the first time."""
        sql = "INSERT OR IGNORE INTO device_federation_inbox VALUES (?, ?)"
        return self.database.execute(sql, (origin, message_id)).rowcount == 1

    def expand(self, local: Local) -> dict[Place, Mapping[str, Any]]:
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
    ) -> Rows:
        sql = """
            SELECT stream_id, message_json FROM device_inbox
            WHERE user_id = ? AND device_id = ? AND stream_id > ? AND stream_id <= ?
            ORDER BY stream_id
        """
        return self._queued(sql, user_id, device_id, after, up_to)

    def outbox(self, destination: str) -> Rows:
        sql = """
            SELECT stream_id, messages_json FROM device_federation_outbox
            WHERE destination = ? ORDER BY stream_id
        """
        return self._queued(sql, destination)

    def _queued(self, sql: str, *place: Any) -> Rows:
        return {stream_id: decode(text) for stream_id, text in self.rows(sql, *place)}

    def delete_sent(self, destination: str, token: int) -> None:
        sql = """
            DELETE FROM device_federation_outbox
            WHERE destination = ? AND stream_id <= ?
        """
        self.rows(sql, destination, token)

    def acknowledge(self, user_id: str, device_id: str, token: int) -> None:
        sql = """
            DELETE FROM device_inbox
            WHERE user_id = ? AND device_id = ? AND stream_id <= ?
        """
        self.rows(sql, user_id, device_id, token)


def compact(value: Any) -> str:
    """Return JSON as Synapse writes it."""
    return json.dumps(value, separators=(",", ":"))
