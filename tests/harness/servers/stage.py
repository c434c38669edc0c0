"""Start homeservers for tests, and stop exactly those again."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any, Callable, NamedTuple

import attrs

from tests.harness.client import Client
from tests.harness.messages import WITHHELD, make_key, make_message, make_notice
from tests.harness.servers.homeserver import Homeserver
from tests.harness.waiting import eventually, together

MODULE = "synapse_withheld.WithheldModule"

# Makes an empty database, and returns its section of `homeserver.yaml`: `None` for the
# harness's own SQLite.
NewDatabase = Callable[[], "dict[str, Any] | None"]

_NAMES = count()


def sqlite() -> None:
    """Do nothing: the harness's own SQLite is there with the homeserver."""


def new_name(stem: str) -> str:
    return f"{stem}{next(_NAMES)}"


class Site(NamedTuple):
    """Where a homeserver keeps its data."""

    directory: Path
    database: dict[str, Any] | None


@attrs.define
class Stage:
    """Homeservers on one kind of database."""

    new_directory: Callable[[], Path]
    new_database: NewDatabase
    _started: list[Homeserver] = attrs.Factory(list)

    def site(self) -> Site:
        return Site(self.new_directory(), self.new_database())

    async def start(
        self,
        module: dict[str, Any] | None,
        config: dict[str, Any] | None = None,
        site: Site | None = None,
    ) -> Homeserver:
        site = site or self.site()
        homeserver = Homeserver(
            site.directory, module=module, database=site.database, config=config
        )
        self._started.append(homeserver)
        await homeserver.start()
        return homeserver

    async def end(self) -> None:
        while self._started:
            await self._started.pop().stop()


@attrs.define
class Shelf:
    """Homeservers that several files of tests use, one for each configuration."""

    new_directory: Callable[[], Path]
    _there: dict[tuple[NewDatabase, str], Homeserver] = attrs.Factory(dict)

    async def homeserver(
        self, new_database: NewDatabase, module: dict[str, Any] | None
    ) -> Homeserver:
        """Return the one that is configured so; start it, if it is not there yet."""
        key = (new_database, repr(module))
        if key not in self._there:
            directory, database = self.new_directory(), new_database()
            self._there[key] = Homeserver(directory, module=module, database=database)
        if not self._there[key].process.runs:
            # It is new, or a test that failed has left it so.
            await self._there[key].start()
        return self._there[key]

    async def end(self) -> None:
        await together(*(each.stop() for each in self._there.values()))


@attrs.frozen
class Two:
    """A sender and a recipient, known to nobody else, and the sender's key."""

    homeserver: Homeserver
    sender: Client
    recipient: Client
    sender_key: str

    def notice(self, **more: Any) -> dict[str, Any]:
        own = {"sender_key": self.sender_key, "from_device": self.sender.device_id}
        return make_notice(**{**own, **more})

    async def send(
        self, content: dict[str, Any], kind: str = WITHHELD
    ) -> dict[str, Any]:
        return await send(self.sender, self.recipient, content, kind)

    def mailbox(self) -> list[dict[str, Any]]:
        return self.homeserver.mailbox(self.recipient)


async def send(
    sender: Client, recipient: Client, content: dict[str, Any], kind: str = WITHHELD
) -> dict[str, Any]:
    """Send a to-device message to one device; return it as stock Synapse queues it."""
    contents = {recipient.user_id: {recipient.device_id: content}}
    assert await sender.send_to_device(kind, contents) == 200
    return make_message(sender.user_id, content, kind)


async def two_on(homeserver: Homeserver) -> Two:
    sender = await homeserver.register(new_name("sender"), device_id="SENDERDEV")
    recipient = await homeserver.register(new_name("recipient"), device_id="AWAY")
    return Two(homeserver, sender, recipient, make_key(sender.user_id))


async def everything_tidied(homeserver: Homeserver) -> None:
    """Wait until all rows that are superseded so far have been deleted.

    When nothing is queued, at most one statement is out: it is over when two people's
    own row is gone.
    """
    await homeserver.nothing_to_do()
    two = await two_on(homeserver)
    await two.send(two.notice())
    newest = await two.send(two.notice(sender_key=make_key("newest")))
    await eventually(two.mailbox, [newest])
    await homeserver.nothing_to_do()
