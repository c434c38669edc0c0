"""Learn what was queued in mailboxes before this process watched them."""

from __future__ import annotations

from typing import Awaitable, Callable

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import ABOVE_ALL, Page
from synapse_withheld.delivery.work import Piece, Work
from synapse_withheld.memory.memory import Mailbox, Memory
from synapse_withheld.rules.mailbox import MailboxKey, Superseded
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.rules.staleness import Staleness, askers_of

# How many pages of one mailbox are read: what is older stays, and is delivered.
MOST_PAGES = 20

# How many notices are looked at before others have their turn.
MOST_AT_ONCE = 100

# How many devices of one user are learned after a message to all of them.
MOST_DEVICES = 1000


@attrs.define(eq=False)
class _Unlearned:
    """A mailbox to be learned, and how far that is."""

    key: MailboxKey
    mailbox: Mailbox
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
    _queued: dict[MailboxKey, Mailbox] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._mailboxes)

    @property
    def is_ready(self) -> bool:
        return bool(self._mailboxes)

    def add(self, key: MailboxKey, mailbox: Mailbox, who: str) -> None:
        """Queue a mailbox on somebody's behalf; one that does not fit is forgotten."""
        if self._queued.get(key) is mailbox:
            return
        if self._mailboxes.add(who, _Unlearned(key, mailbox)):
            self._queued[key] = mailbox
        else:
            self.memory.forget(key)

    async def do_some(self) -> None:
        """Read a page of as many mailboxes as one statement may."""
        taken = self._take()
        if not taken:
            return
        wanted = {each.item.key: each.item.below for each in taken}
        try:
            pages = await self.database.read_pages(self.queue, wanted, self.rules.marks)
            notices = {}
            for key, page in pages.items():
                notices[key] = self._notices(page)
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

    async def _breathe(self, notices: list[tuple[int, Notice]]) -> None:
        """Let others have their turn: a page of nothing but notices takes a while."""
        if len(notices) > MOST_AT_ONCE:
            await self.sleep(0)

    def _take(self) -> list[Piece[_Unlearned]]:
        """Take mailboxes, without those that were forgotten meanwhile."""
        taken = []
        keys = set()
        for each in self._mailboxes.take(self.database.most_pages):
            key = each.item.key
            if self.memory.peek(key) is not each.item.mailbox or key in keys:
                self._end(each.item)
            else:
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
            unlearned.key, unlearned.mailbox, rows, unlearned.newest_id, last=is_last
        )
        if superseded:
            self.tidy(superseded, each.who)
        if below is None or is_last:
            self._end(unlearned)
            return
        unlearned.below, each.failures = below, 0
        # Others come first.
        self._mailboxes.put_behind(each)

    def _end(self, each: _Unlearned) -> None:
        if self._queued.get(each.key) is each.mailbox:
            del self._queued[each.key]


@attrs.define(eq=False)
class LearningOfUsers:
    """Users to all of whose devices something was sent.

    Attributes:
        learn: Called with a mailbox that was opened, and on whose behalf.
        stream_token: The position up to which readers see the stream.
    """

    memory: Memory
    database: Database
    learn: Callable[[MailboxKey, Mailbox, str], None]
    stream_token: Callable[[], int]
    _users: Work[str] = attrs.field(factory=Work, init=False)
    _queued: set[str] = attrs.field(factory=set, init=False)

    def __len__(self) -> int:
        return len(self._users)

    @property
    def is_ready(self) -> bool:
        return bool(self._users)

    def add(self, user_id: str, who: str) -> None:
        """Queue a user on somebody's behalf, if there is room."""
        if user_id not in self._queued and self._users.add(who, user_id):
            self._queued.add(user_id)

    async def do_some(self) -> None:
        """Look up the devices of some users, and open what is not remembered."""
        taken = self._users.take(self.database.most_pages)
        whose = {each.item: each.who for each in taken}
        try:
            devices = await self.database.read_devices(whose)
        except Exception:
            for each in self._users.failed(taken):
                self._queued.discard(each.item)
            raise
        self._queued.difference_update(whose)
        for user_id, device_ids in devices.items():
            for device_id in device_ids[:MOST_DEVICES]:
                key = (user_id, device_id)
                if self.memory.peek(key) is None:
                    mailbox = self.memory.open(key, self.stream_token())
                    self.learn(key, mailbox, whose[user_id])
