"""How devices read: by sync, by sliding sync, and a dehydrated one from the start."""

from __future__ import annotations

from typing import Callable, Union

import attrs

from tests.harness.client import DEHYDRATED, Client, MatrixError, Messages, SlidingSync

PAGE = 100


@attrs.define(eq=False)
class Syncing:
    client: Client
    number: int
    _since: str | None = None

    async def ask(self, *, keep: bool) -> Messages:
        """Acknowledge what was kept, and return a page of what is left."""
        # A first sync could be answered from a cache, if it was made before.
        timeout_ms = self.number if self._since is None else 0
        answer = await self.client.sync(self._since, timeout_ms)
        if keep:
            self._since = answer["next_batch"]
        messages: Messages = answer.get("to_device", {}).get("events", [])
        return messages


@attrs.define(eq=False)
class Sliding:
    _connection: SlidingSync

    async def ask(self, *, keep: bool) -> Messages:
        """Acknowledge what was kept, and return a page of what is left."""
        connection = self._connection
        try:
            return await (connection.take() if keep else connection.look())
        except AssertionError as error:
            # Its position is unknown: it begins again, from what it acknowledged.
            connection.begin_again()
            raise MatrixError(str(error)) from error


@attrs.define(eq=False)
class FromStart:
    """Reads a dehydrated device, as any of the user's devices."""

    client: Callable[[], Client]
    device_id: str

    async def ask(self, *, keep: bool) -> Messages:  # noqa: ARG002 it never is
        messages: Messages = []
        since: dict[str, str] = {}
        path = f"{DEHYDRATED}/{self.device_id}/events"
        while True:
            body = await self.client().succeed("GET", path, None, since)
            messages += body["events"]
            if not body["events"] or "next_batch" not in body:
                return messages
            since = {"from": body["next_batch"]}


Reader = Union[Syncing, Sliding, FromStart]
