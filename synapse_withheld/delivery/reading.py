"""Ask the database about mailboxes, shared between senders and with patience."""

from __future__ import annotations

from typing import (
    Any,
    Awaitable,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Optional,
    Tuple,
)

import attrs
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore

from synapse_withheld.database.database import Database, StatementError
from synapse_withheld.delivery.waiting import (
    PATIENCE_S,
    PatienceEndedError,
    Runtime,
    Shared,
    wait_up_to,
)
from synapse_withheld.memory.index import Index
from synapse_withheld.memory.mailbox import Mailbox
from synapse_withheld.rules.mailbox import MailboxKey, RowState, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.staleness import Staleness, askers_of

# How many first readings run at once: they must not crowd out Synapse's own
# statements, nor hold much memory together.
READINGS_AT_ONCE = 2

# Stream ID and notice of what is in a mailbox, newest first.
Notices = List[Tuple[int, Notice]]


class Rows(Dict[Tuple[MailboxKey, int], Optional[RowState]]):
    """What became of rows, by mailbox and stream ID.

    `None` for a row whose device does not exist or is being deleted.

    Attributes:
        asked_s: When the database was asked, in seconds of the runtime's clock.
    """

    def __init__(self, asked_s: float) -> None:
        """Start with no row."""
        super().__init__()
        self.asked_s = asked_s


@attrs.define
class Reader:
    """What is in the mailboxes.

    Attributes:
        found: Called with rows that a first reading found to be superseded.
    """

    index: Index
    store: Database
    runtime: Runtime
    found: Callable[[list[Superseded]], None]
    rules: Ruleset
    _readings: dict[MailboxKey, Shared] = attrs.field(factory=dict, init=False)
    _at_once: DeferredSemaphore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the semaphore that bounds the readings."""
        self._at_once = DeferredSemaphore(READINGS_AT_ONCE)

    async def devices(self, user_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the devices of users, without a statement for none."""
        if not user_ids:
            return {}
        devices: dict[str, list[str]] = await self._ask(
            self.store.read_devices, user_ids
        )
        return devices

    async def queued(self, rows: Collection[tuple[MailboxKey, int]]) -> Rows:
        """Tell what became of rows, without a statement where none is asked for."""
        answer = Rows(self.runtime.seconds())
        if rows:
            found = await self._ask(self.store.read_queued, rows)
            answer.update((row, found.get(row)) for row in rows)
        return answer

    async def learn(self, mailboxes: Iterable[MailboxKey]) -> set[MailboxKey]:
        """Make the index know mailboxes, as far as their devices exist.

        Returns:
            Those that were read for it just now.

        Raises:
            PatienceEndedError: It takes too long; it goes on in the background.
        """
        unknown = {key: None for key in mailboxes if not self.index.knows(key)}
        unread = [key for key in unknown if key not in self._readings]
        readings = {self._readings[key] for key in unknown if key in self._readings}
        if unread:
            readings.add(self._start_reading(unread))
        if readings:
            all_read = DeferredList([each.wait() for each in readings])
            for _, error in await wait_up_to(self.runtime, PATIENCE_S, all_read):
                if error is not None:
                    raise error
        return set(unknown)

    async def _ask(self, statement: Callable[[Any], Awaitable[Any]], about: Any) -> Any:
        answer = self.runtime.in_background(statement, about)
        try:
            return await wait_up_to(self.runtime, PATIENCE_S, answer)
        except PatienceEndedError as error:
            raise StatementError(str(error)) from error

    def _start_reading(self, unread: Iterable[MailboxKey]) -> Shared:
        opened = {key: self.index.begin_reading(key) for key in unread}
        done: Deferred[Exception | None] = Deferred()
        reading = Shared(done)
        self._readings.update(dict.fromkeys(opened, reading))
        self.runtime.as_process("withheld_first_reading", self._read, opened, done)
        return reading

    async def _read(
        self, opened: dict[MailboxKey, Mailbox], done: Deferred[Exception | None]
    ) -> None:
        """Read mailboxes; `done` fires with what went wrong, `None` if nothing did."""
        failure = None
        await self.runtime.yieldable(self._at_once.acquire())
        try:
            found = await self._find(opened)
            told = [notice for each in found.values() for _, notice in each]
            gone = await self.store.read_gone(askers_of(told))
            staleness = Staleness(self.runtime.now_ts(), gone)
            for key, mailbox in opened.items():
                self._remember(key, mailbox, found.get(key), staleness)
        except Exception as error:  # noqa: BLE001 whoever waits for it hears of it
            failure = error
        for key in opened:
            if failure is not None:
                self.index.forget(key)
            self._readings.pop(key, None)
        with self.runtime.outside_any_log_context():
            self._at_once.release()
            done.callback(failure)

    async def _find(self, mailboxes: Iterable[MailboxKey]) -> dict[MailboxKey, Notices]:
        """Read the notices in mailboxes whose devices exist, newest first."""
        readings = await self.store.read_mailboxes(mailboxes, self.rules.marks)
        return {
            key: [
                (stream_id, notice)
                for stream_id, message in reading.messages
                if (notice := self.rules.recognise(message)) is not None
            ]
            for key, reading in readings.items()
        }

    def _remember(
        self,
        key: MailboxKey,
        mailbox: Mailbox,
        notices: Notices | None,
        staleness: Staleness,
    ) -> None:
        stale: list[Superseded] = []
        if notices:
            newest_id, _ = notices[0]
            gone = staleness.among(notices)
            stale = [Superseded(key, each, newest_id) for each in sorted(gone)]
            notices = [each for each in notices if each[0] not in gone]
        superseded = self.index.end_reading(key, mailbox, notices)
        self.found([*stale, *superseded])
