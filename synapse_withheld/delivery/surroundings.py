"""What the parts need of the homeserver that they run in."""

from __future__ import annotations

from typing import Any, Callable, Protocol

from synapse_withheld.delivery.runtime import Runtime


class Surroundings(Protocol):
    """The homeserver."""

    @property
    def sees_reads(self) -> bool:
        """Say whether every read of a mailbox passes this process."""

    @property
    def database_driver(self) -> str:
        """Return the name of the database's driver: `sqlite3` or `psycopg2`."""

    def connection_of(self, txn: Any) -> Any:
        """Return the driver's connection of a transaction, `None` if out of reach."""

    def runtime(self) -> Runtime:
        """Return how this homeserver runs things."""

    def stream_token(self) -> int:
        """Return the position up to which readers see to-device messages."""

    def device_list_id(self) -> int:
        """Return the position of the device list stream."""

    def reader_never_acknowledges(self, user_id: str) -> bool:
        """Say whether the reader of a user's mailboxes never acknowledges."""

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement outside any transaction."""
