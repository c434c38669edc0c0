"""Which cancellations take back nothing that anybody was handed.

A request and its cancellation vanish together where every request of the pair is gone
from the mailbox and no read ever reached the lowest of them.
"""

from __future__ import annotations

from synapse_withheld.memory.asked import Asked, PairOfRule
from synapse_withheld.memory.mailbox import Mailbox
from synapse_withheld.memory.records import Record
from synapse_withheld.rules.notice import Notice
from synapse_withheld.rules.requests import CANCELLATION, REQUEST


def note_request(mailbox: Mailbox, stream_id: int, notice: Notice) -> None:
    """Note a request that is in a mailbox."""
    if _may_vanish(notice):
        if mailbox.asked is None:
            mailbox.asked = Asked()
        lowest, pair = mailbox.asked.lowest, _pair_of(notice)
        lowest[pair] = min(stream_id, lowest.get(pair, stream_id))


def note_redundant(mailbox: Mailbox, stream_id: int, notice: Notice) -> None:
    """Note that a request is redundant, and is to be deleted."""
    asked = mailbox.asked
    if asked is not None and _may_vanish(notice) and stream_id not in asked.going:
        pair = _pair_of(notice)
        asked.going[stream_id] = notice
        asked.waits[pair] = asked.waits.get(pair, 0) + 1


def note_gone(mailbox: Mailbox, stream_id: int, *, is_gone: bool) -> Record | None:
    """Note what became of a request that was to be deleted.

    Returns:
        The cancellation that vanishes if nothing of its pair is in flight.
    """
    asked = mailbox.asked
    notice = None if asked is None else asked.going.pop(stream_id, None)
    if asked is None or notice is None:
        return None
    pair = _pair_of(notice)
    asked.waits[pair] -= 1
    if not asked.waits[pair]:
        del asked.waits[pair]
    if not is_gone and pair in asked.lowest:
        # It is delivered, whatever becomes of the others.
        asked.lowest[pair] = 0
    if pair in asked.waits or asked.lowest.get(pair, 0) <= mailbox.handed_out:
        return None
    for record in mailbox.of_pair(notice):
        if record.notice.variant == CANCELLATION and record.seen_arriving:
            return record
    return None


def forget_pair(mailbox: Mailbox, notice: Notice) -> None:
    """Forget what was requested under a pair of which nothing is remembered."""
    if mailbox.asked is not None and not mailbox.of_pair(notice):
        mailbox.asked.lowest.pop(_pair_of(notice), None)


def _may_vanish(notice: Notice) -> bool:
    return notice.rule.vanishes and notice.variant == REQUEST


def _pair_of(notice: Notice) -> PairOfRule:
    return (notice.rule.name, notice.pair)
