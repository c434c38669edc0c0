"""What was asked for in one mailbox, and taken back."""

from __future__ import annotations

from typing import Dict

import attrs

from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.requests import REQUEST


@attrs.define(eq=False, weakref_slot=False)
class Asked:
    """What is to be known for a cancellation to vanish, of one mailbox.

    Attributes:
        lowest: By pair: the lowest stream ID of its requests that became redundant,
            also of those that are gone: one that was handed out, cancelled, repeated
            and cancelled again needs its last cancellation. 0 where one of them stays.
        going: By stream ID: what is redundant and may still be there.
        waits: By pair: how much of that there is.
        undecided: By pair: one of its requests, where all of them went before all that
            is queued was known.
        unsure_up_to: Up to which stream ID a pair that was forgotten may have been
            handed out.
    """

    lowest: Dict[Pair, int] = attrs.Factory(dict)
    going: Dict[int, Notice] = attrs.Factory(dict)
    waits: Dict[Pair, int] = attrs.Factory(dict)
    undecided: Dict[Pair, Notice] = attrs.Factory(dict)
    unsure_up_to: int = 0

    def note_redundant(self, stream_id: int, notice: Notice) -> None:
        """Note that something is redundant, and is to be deleted."""
        pair = notice.pair
        if notice.variant == REQUEST:
            self.lowest[pair] = min(stream_id, self.lowest.get(pair, stream_id))
        if stream_id not in self.going:
            self.going[stream_id] = notice
            self.waits[pair] = self.waits.get(pair, 0) + 1

    def note_gone(self, stream_id: int, *, is_gone: bool) -> Notice | None:
        """Note what became of it; return it where nothing of its pair is left to go."""
        notice = self.going.pop(stream_id, None)
        if notice is None:
            return None
        pair = notice.pair
        if not is_gone:
            # It is delivered, whatever becomes of the others.
            self.lowest[pair] = 0
        self.waits[pair] -= 1
        if self.waits[pair]:
            return None
        del self.waits[pair]
        return notice

    def forget(self, pair: Pair) -> None:
        """Forget a pair of which nothing is remembered."""
        self.lowest.pop(pair, None)
        self.undecided.pop(pair, None)
