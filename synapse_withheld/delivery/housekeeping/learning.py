"""Learn what was queued in mailboxes before this process watched them."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, TypeVar

import attrs

from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import Queue
from synapse_withheld.database.sql import ABOVE_ALL, MOST_KEYS, Page
from synapse_withheld.delivery.shares import Chore, Piece, Work
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

# What was read of a mailbox: a page with the notices in it, or its two ends.
Found = TypeVar("Found")


@attrs.define(eq=False)
class _Unlearned(Piece):
    """A mailbox to be learned, and how far that is.

    Attributes:
        row: One that was stored there just now, and is not remembered.
        doubts: How often it had been doubted when the database was first asked.
    """

    mailbox: Mailbox
    row: Row | None = None
    doubts: int = 0
    below: int = ABOVE_ALL
    newest_id: int = 0
    pages: int = 0

    @property
    def key(self) -> MailboxKey:
        return self.mailbox.key


@attrs.define(eq=False)
class Learning(Chore):
    """The mailboxes of one queue that are to be learned, a page at a time.

    Attributes:
        tidy: Called with rows that turn out to be redundant, and on whose behalf.
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

    def __len__(self) -> int:
        return len(self._mailboxes) + len(self._crowd)

    def add(self, mailbox: Mailbox, who: str, row: Row | None = None) -> None:
        due_at, mailbox.due_at = mailbox.due_at, mailbox.doubts
        if due_at is not None:
            return
        are_many = len(self) >= self.database.most_pages
        is_crowd = are_many and self.queue.read_ends is not None
        work = self._crowd if is_crowd else self._mailboxes
        if not work.queue(_Unlearned(who, mailbox, row)):
            self._leave(mailbox)

    async def do_some(self) -> None:
        # In turns, so that a crowd that never ends holds up nobody.
        self._looks_over = bool(self._crowd) and not (
            self._looks_over and self._mailboxes
        )
        await (self._look_over() if self._looks_over else self._read())

    async def _read(self) -> None:
        taken = self._take(self._mailboxes, self.database.most_pages)
        if not taken:
            return
        wanted = {each.key: each.below for each in taken}
        found = await self._mailboxes.asking(taken, self._find(wanted), self._give_up)
        await self._learn_each(self._mailboxes, taken, found, self._learn_page)

    async def _find(
        self, wanted: Mapping[MailboxKey, int]
    ) -> Mapping[MailboxKey, tuple[Page, list[Row]]]:
        pages = await self.database.read_pages(self.queue, wanted, self.rules.marks)
        notices = {key: await self._recognise(page) for key, page in pages.items()}
        gone = await self.database.gone(
            askers_of(notice for some in notices.values() for _, notice in some)
        )
        stale = Staleness(self.now_ts(), gone).applies_to
        return {
            key: (pages[key], [Row(*each, stale=stale(each[1])) for each in some])
            for key, some in notices.items()
        }

    async def _recognise(self, page: Page) -> list[tuple[int, Notice]]:
        notices = [
            (stream_id, notice)
            for stream_id, message in page.messages
            if (notice := self.rules.recognise(message)) is not None
        ]
        await self._breathe(notices)
        return notices

    async def _learn_each(
        self,
        work: Work[_Unlearned],
        taken: list[_Unlearned],
        found: Mapping[MailboxKey, Found],
        learn: Callable[[_Unlearned, Found], Awaitable[None]],
    ) -> None:
        """Learn mailboxes from what was found in them.

        Where one cannot be, the others are tried again.
        """
        while taken:
            item = taken.pop(0)
            try:
                if item.key in found:
                    await learn(item, found[item.key])
                else:
                    # There is no such device.
                    self.memory.forget(item.key)
            except Exception:
                self.memory.forget(item.key)
                work.put_all_back(taken)
                raise

    async def _learn_page(
        self, item: _Unlearned, found: tuple[Page, list[Row]]
    ) -> None:
        page, rows = found
        item.pages += 1
        item.newest_id = max(item.newest_id, page.newest_id)
        is_whole = page.below is None
        is_last = is_whole or item.pages >= MOST_PAGES
        self._learn(item, rows, is_last=is_last, is_whole=is_whole)
        if page.below is None or is_last:
            self._end(item)
        else:
            item.below, item.failures = page.below, 0
            # Others come first.
            self._mailboxes.add(item)
        await self._breathe(rows)

    async def _look_over(self) -> None:
        """Learn of as many mailboxes as one statement may whether they hold more."""
        taken = self._take(self._crowd, MOST_KEYS)
        if not taken:
            return
        keys = [each.key for each in taken]
        answer = self.database.read_ends(self.queue, keys)
        ends = await self._crowd.asking(taken, answer, self._give_up)
        await self._learn_each(self._crowd, taken, ends, self._learn_ends)

    async def _learn_ends(self, item: _Unlearned, ends: tuple[int, int]) -> None:
        rows = _all_of(item, *ends)
        if rows is not None:
            item.newest_id = ends[1]
            self._learn(item, rows, is_last=True, is_whole=True)
            self._end(item)
        elif not self._mailboxes.queue(item):
            self._leave(item.mailbox)

    def _learn(
        self, item: _Unlearned, rows: list[Row], *, is_last: bool, is_whole: bool
    ) -> None:
        """Remember what was found, and that it is all, unless that was doubted."""
        mailbox, doubts = item.mailbox, item.doubts
        is_last = is_last and mailbox.doubts == doubts
        superseded = self.memory.learn(mailbox, rows, item.newest_id, last=is_last)
        if is_whole and mailbox.doubts == doubts:
            self.memory.vanishing.note_whole(mailbox)
        if superseded:
            self.tidy(superseded, item.who)

    def _end(self, item: _Unlearned) -> None:
        """Be done with a mailbox, unless it was doubted and queued again meanwhile."""
        due_at, item.mailbox.due_at = item.mailbox.due_at, None
        if due_at is not None and due_at > item.doubts:
            self.add(item.mailbox, item.who)

    def _take(self, work: Work[_Unlearned], most: int) -> list[_Unlearned]:
        """Take mailboxes, without those that were forgotten meanwhile."""
        taken = [
            item
            for item in work.take_some(most)
            if self.memory.peek(item.key) is item.mailbox
        ]
        for item in taken:
            if not item.pages:
                item.doubts = item.mailbox.doubts
        return taken

    async def _breathe(self, notices: list[Any]) -> None:
        """Let others have their turn: a page of nothing but notices takes a while."""
        if len(notices) > MOST_AT_ONCE:
            await self.sleep(0)

    def _leave(self, mailbox: Mailbox) -> None:
        """Leave a mailbox unlearned: a later notice has it queued again.

        What others have in it is believed as before. What holds nothing takes no room.
        """
        mailbox.due_at = None
        if not len(mailbox):
            self.memory.forget(mailbox.key)

    def _give_up(self, item: _Unlearned) -> None:
        self.memory.forget(item.key)


def _all_of(item: _Unlearned, oldest_id: int, newest_id: int) -> list[Row] | None:
    """Return all that a mailbox holds and is not remembered, if that is known."""
    if not newest_id:
        return []
    if oldest_id != newest_id:
        return None
    if item.row is not None and item.row.stream_id == newest_id:
        return [item.row]
    is_seen = any(
        record.stream_id == newest_id and record.seen_arriving
        for record in item.mailbox.some(FEW)
    )
    return [] if is_seen else None
