"""Learn what was queued in mailboxes before this process watched them."""

from __future__ import annotations

from typing import Awaitable, Callable

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import ABOVE_ALL, MOST_KEYS, Page
from synapse_withheld.delivery.housekeeping.work import Piece, Work
from synapse_withheld.memory.memory import Mailbox, Memory
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row, Staleness, askers_of
from synapse_withheld.rules.ruleset import Ruleset

# How many pages of one mailbox are read: what is older stays, and is delivered.
MOST_PAGES = 20

# How many notices are looked at before others have their turn.
MOST_AT_ONCE = 100

# How many records are looked through for the only row of a mailbox.
FEW = 10

# How many devices of one user are learned after a message to all of them, and of how
# many users one statement reads them: most have a few.
MOST_DEVICES = 1000
MOST_USERS = 50


@attrs.define(eq=False)
class _Unlearned:
    """A mailbox to be learned, and how far that is.

    Attributes:
        row: One that was stored there just now, and is not remembered.
        doubts: How often it had been doubted when the database was first asked.
    """

    key: MailboxKey
    mailbox: Mailbox
    row: Row | None = None
    doubts: int = 0
    below: int = ABOVE_ALL
    newest_id: int = 0
    pages: int = 0


@attrs.define(eq=False)
class Learning:
    """The mailboxes of one queue that are to be learned, a page at a time.

    Attributes:
        tidy: Called with rows that turn out to be redundant, and on whose behalf.
        now_ts: The time of day, in milliseconds since 1970.
        sleep: Sleeps for some seconds.
    """

    queue: Queue
    memory: Memory
    database: Database
    rules: Ruleset
    tidy: Callable[[list[Superseded], str], None]
    now_ts: Callable[[], int]
    sleep: Callable[[float], Awaitable[None]]
    _mailboxes: Work[_Unlearned] = attrs.field(factory=Work, init=False)
    # Where many come at once: most turn out to hold nothing else, or not to exist.
    _crowd: Work[_Unlearned] = attrs.field(factory=Work, init=False)
    _looks_over: bool = attrs.field(default=False, init=False)
    _queued: dict[MailboxKey, Mailbox] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._mailboxes) + len(self._crowd)

    @property
    def is_ready(self) -> bool:
        return bool(self)

    def add(
        self, key: MailboxKey, mailbox: Mailbox, who: str, row: Row | None = None
    ) -> None:
        """Queue a mailbox on somebody's behalf; one that does not fit is forgotten."""
        if self._queued.get(key) is mailbox:
            return
        is_crowd = self.queue.read_ends is not None and (
            len(self) >= self.database.most_pages
        )
        work = self._crowd if is_crowd else self._mailboxes
        if work.add(who, _Unlearned(key, mailbox, row)):
            self._queued[key] = mailbox
        else:
            self.memory.forget(key)

    async def do_some(self) -> None:
        """Read a page of as many mailboxes as one statement may."""
        # In turns, so that a crowd that never ends holds up nobody.
        self._looks_over = bool(self._crowd) and not (
            self._looks_over and self._mailboxes
        )
        if self._looks_over:
            await self._look_over()
            return
        taken = self._take(self._mailboxes, self.database.most_pages)
        if not taken:
            return
        wanted = {each.item.key: each.item.below for each in taken}
        try:
            pages = await self.database.read_pages(self.queue, wanted, self.rules.marks)
            notices = {}
            for key, found in pages.items():
                notices[key] = self._notices(found)
                await self._breathe(notices[key])
            told = [notice for some in notices.values() for _, notice in some]
            gone = await self.database.gone(askers_of(told))
        except Exception:
            for each in self._mailboxes.failed(taken):
                self._end(each.item)
                self.memory.forget(each.item.key)
            raise
        staleness = Staleness(self.now_ts(), gone)
        for each in taken:
            key = each.item.key
            page = pages.get(key)
            if page is None:
                # There is no such device.
                self._end(each.item)
                self.memory.forget(key)
            else:
                self._learn(each, page, notices[key], staleness)
                await self._breathe(notices[key])

    async def _look_over(self) -> None:
        """Learn of as many mailboxes as one statement may whether they hold more."""
        taken = self._take(self._crowd, MOST_KEYS)
        if not taken:
            return
        try:
            keys = [each.item.key for each in taken]
            ends = await self.database.read_ends(self.queue, keys)
        except Exception:
            for each in self._crowd.failed(taken):
                self._end(each.item)
                self.memory.forget(each.item.key)
            raise
        for each in taken:
            key, mailbox = each.item.key, each.item.mailbox
            if key not in ends:
                # There is no such device.
                self._end(each.item)
                self.memory.forget(key)
            elif (rows := _all_of(each.item, *ends[key])) is not None:
                self._end(each.item)
                is_all = mailbox.doubts == each.item.doubts
                newest_id = ends[key][1]
                self.memory.learn(key, mailbox, rows, newest_id, last=is_all)
                self._note_end(each.item)
            elif not self._mailboxes.add(each.who, each.item):
                self._end(each.item)
                self.memory.forget(key)

    async def _breathe(self, notices: list[tuple[int, Notice]]) -> None:
        """Let others have their turn: a page of nothing but notices takes a while."""
        if len(notices) > MOST_AT_ONCE:
            await self.sleep(0)

    def _take(self, work: Work[_Unlearned], most: int) -> list[Piece[_Unlearned]]:
        """Take mailboxes, without those that were forgotten meanwhile."""
        taken = []
        keys = set()
        for each in work.take(most):
            key = each.item.key
            if self.memory.peek(key) is not each.item.mailbox or key in keys:
                self._end(each.item)
            else:
                if not each.item.pages:
                    each.item.doubts = each.item.mailbox.doubts
                keys.add(key)
                taken.append(each)
        return taken

    def _notices(self, page: Page) -> list[tuple[int, Notice]]:
        return [
            (stream_id, notice)
            for stream_id, message in page.messages
            if (notice := self.rules.recognise(message)) is not None
        ]

    def _learn(
        self,
        each: Piece[_Unlearned],
        page: Page,
        notices: list[tuple[int, Notice]],
        staleness: Staleness,
    ) -> None:
        unlearned, below = each.item, page.below
        unlearned.pages += 1
        unlearned.newest_id = max(unlearned.newest_id, page.newest_id)
        is_last = below is None or unlearned.pages >= MOST_PAGES
        rows = [
            Row(stream_id, notice, stale=staleness.applies_to(notice))
            for stream_id, notice in notices
        ]
        superseded = self.memory.learn(
            unlearned.key,
            unlearned.mailbox,
            rows,
            unlearned.newest_id,
            last=is_last and unlearned.mailbox.doubts == unlearned.doubts,
        )
        if below is None:
            self._note_end(unlearned)
        if superseded:
            self.tidy(superseded, each.who)
        if below is None or is_last:
            self._end(unlearned)
            return
        unlearned.below, each.failures = below, 0
        # Others come first.
        self._mailboxes.put_behind(each)

    def _note_end(self, unlearned: _Unlearned) -> None:
        """Note that a mailbox was read to its oldest row."""
        if unlearned.mailbox.doubts == unlearned.doubts:
            self.memory.vanishing.note_whole(unlearned.mailbox)

    def _end(self, each: _Unlearned) -> None:
        if self._queued.get(each.key) is each.mailbox:
            del self._queued[each.key]


def _all_of(each: _Unlearned, oldest_id: int, newest_id: int) -> list[Row] | None:
    """Return all that a mailbox holds and is not remembered, if that is known."""
    if not newest_id:
        return []
    if oldest_id != newest_id:
        return None
    if each.row is not None and each.row.stream_id == newest_id:
        return [each.row]
    is_seen = any(
        record.stream_id == newest_id and record.seen_arriving
        for record in each.mailbox.some(FEW)
    )
    return [] if is_seen else None


@attrs.define(eq=False)
class LearningOfUsers:
    """Users to all of whose devices something was sent.

    Attributes:
        learn: Called with a mailbox that was opened, and on whose behalf.
        stream_token: The position up to which readers see the stream.
    """

    memory: Memory
    database: Database
    learn: Callable[[MailboxKey, Mailbox, str, Row | None], None]
    stream_token: Callable[[], int]
    _users: Work[str] = attrs.field(factory=Work, init=False)
    _queued: dict[str, Row | None] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._users)

    @property
    def is_ready(self) -> bool:
        return bool(self._users)

    def add(self, user_id: str, who: str, row: Row | None) -> None:
        """Queue a user on somebody's behalf, if there is room."""
        if user_id not in self._queued and self._users.add(who, user_id):
            self._queued[user_id] = row

    async def do_some(self) -> None:
        """Look up the devices of some users, and open what is not remembered."""
        taken = self._users.take(MOST_USERS)
        whose = {each.item: each.who for each in taken}
        try:
            devices = await self.database.read_devices(whose)
        except Exception:
            for each in self._users.failed(taken):
                self._queued.pop(each.item, None)
            raise
        rows = {user_id: self._queued.pop(user_id, None) for user_id in whose}
        for user_id, device_ids in devices.items():
            for device_id in device_ids[:MOST_DEVICES]:
                key = (user_id, device_id)
                if self.memory.peek(key) is None:
                    mailbox = self.memory.open(key, self.stream_token())
                    self.learn(key, mailbox, whose[user_id], rows[user_id])
