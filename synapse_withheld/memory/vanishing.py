"""Which cancellations take back nothing that anybody was handed.

A request and its cancellation vanish together where every request of the pair is gone
from the mailbox, and no read that could hand out any of them ever began.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import List, Tuple

import attrs

from synapse_withheld.memory.in_flight import InFlight
from synapse_withheld.memory.tables.asked import Asked
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.mailboxes import Mailboxes
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.rules.mailbox import WILDCARD, MailboxKey
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.redundant import Row
from synapse_withheld.rules.requests import CANCELLATION, REQUEST

# A mailbox, and the stream ID of a row in it.
Place = Tuple[MailboxKey, int]

# How many requests to all devices of a user are remembered beside the mailboxes.
MOST_FOR_ALL = 10_000


@attrs.define(eq=False)
class Vanishing:
    """The cancellations that are redundant, and are to be deleted."""

    _mailboxes: Mailboxes
    _in_flight: InFlight
    _places: List[Place] = attrs.field(factory=list, init=False)
    # By user: the first row, which a device may have been handed by the time that its
    # mailbox is opened.
    _for_all: OrderedDict[Tuple[str, Pair], int] = attrs.field(
        factory=OrderedDict, init=False
    )

    def __len__(self) -> int:
        return len(self._places)

    def take(self, most: int) -> list[Place]:
        """Take up to `most` of them, each the only time."""
        taken, self._places = self._places[:most], self._places[most:]
        return taken

    def awaits(self, key: MailboxKey, stream_id: int) -> bool:
        """Say whether it matters what becomes of a redundant row."""
        mailbox = self._mailboxes.peek(key)
        asked = None if mailbox is None else mailbox.asked
        return asked is not None and stream_id in asked.going

    def went(self, key: MailboxKey, stream_id: int, *, is_gone: bool) -> None:
        """Note what became of a row that mattered."""
        mailbox = self._mailboxes.peek(key)
        asked = None if mailbox is None else mailbox.asked
        if mailbox is None or asked is None:
            return
        notice = asked.note_gone(stream_id, is_gone=is_gone)
        if notice is not None:
            self._decide(mailbox, asked, notice)

    def note_for_all(self, user_id: str, row: Row) -> None:
        """Note what was stored for all devices of a user."""
        if row.notice.rule.vanishes and row.notice.variant == REQUEST:
            self._for_all.setdefault((user_id, row.notice.pair), row.stream_id)
            if len(self._for_all) > MOST_FOR_ALL:
                self._for_all.popitem(last=False)

    def note_whole(self, mailbox: Mailbox) -> None:
        """Note that all that is queued in a mailbox is known, to its oldest row."""
        mailbox.note_whole()
        asked = mailbox.asked
        if asked is None or self._mailboxes.peek(mailbox.key) is not mailbox:
            return
        undecided, asked.undecided = asked.undecided, {}
        for pair, notice in undecided.items():
            if pair not in asked.waits:
                self._decide(mailbox, asked, notice)

    def _decide(self, mailbox: Mailbox, asked: Asked, notice: Notice) -> None:
        """Let the cancellation of a pair vanish, all of whose requests went."""
        pair, of_pair = notice.pair, mailbox.of_pair(notice)
        if not of_pair:
            asked.forget(pair)
            return
        handed_out = max(mailbox.handed_out, asked.unsure_up_to)
        lowest = asked.lowest.get(pair, 0)
        lowest = min(lowest, self._for_all.get((mailbox.key[0], pair), lowest))
        cancellation = _cancellation_among(of_pair)
        if cancellation is None or lowest <= handed_out:
            return
        for key in (mailbox.key, (mailbox.key[0], WILDCARD)):
            if self._in_flight.any_of_pair(key, notice):
                # It may come before the cancellation.
                return
        if not mailbox.is_whole:
            # A request that nobody knows of may be queued.
            asked.undecided[pair] = notice
            return
        self._mailboxes.remove(mailbox, cancellation)
        if not mailbox.of_pair(notice):
            asked.forget(pair)
        self._places.append((mailbox.key, cancellation.stream_id))


def _cancellation_among(records: list[Record]) -> Record | None:
    """Return the cancellation, of which there is one at most, if its sender is sure."""
    for record in records:
        if record.notice.variant == CANCELLATION and record.seen_arriving:
            return record
    return None
