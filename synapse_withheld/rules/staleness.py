"""Which messages no client heeds any more: too old, or from a device that is gone.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Collection, Iterable, Sequence, Tuple

import attrs

from synapse_withheld.rules.notice import Asker, Notice, Pair

# A rule's name and a pair of it.
_PairOfRule = Tuple[str, Pair]


@attrs.frozen
class Staleness:
    """What there is to know about the world to say so.

    Attributes:
        now_ts: The time, in milliseconds since 1970.
        gone: Devices that do not exist any more.
    """

    now_ts: int = 0
    gone: Collection[Asker] = ()

    def applies_to(self, notice: Notice) -> bool:
        """Say whether no client heeds a notice any more."""
        # Most have neither, and are many.
        if notice.expires_ts is None and notice.from_device is None:
            return False
        return notice.has_expired(self.now_ts) or notice.asker in self.gone

    def takes_along(self, notice: Notice, later: Notice) -> bool:
        """Say whether a later notice of the pair has nothing left to take back.

        Only where the earlier one expired: whoever was asked by a device that is gone
        may have been shown that.
        """
        return notice.has_expired(self.now_ts) and notice.rule.supersedes(
            notice.variant, later.variant, same_key=notice.key == later.key
        )

    def among(self, notices: Sequence[tuple[int, Notice]]) -> set[int]:
        """Return what of a mailbox is stale, where something newer is there.

        Args:
            notices: Stream ID and notice, newest first.

        Returns:
            Stream IDs.
        """
        stale: set[int] = set()
        latest: dict[_PairOfRule, tuple[int, Notice]] = {}
        for stream_id, notice in notices:
            pair = (notice.rule.name, notice.pair)
            later = latest.get(pair)
            if not self.applies_to(notice):
                latest[pair] = (stream_id, notice)
                continue
            stale.add(stream_id)
            if later is not None and self.takes_along(notice, later[1]):
                stale.add(later[0])
        return stale - {stream_id for stream_id, _ in notices[:1]}


def askers_of(notices: Iterable[Notice]) -> set[Asker]:
    """Return the devices that have to exist for somebody to heed notices."""
    return {each.asker for each in notices if each.asker is not None}
