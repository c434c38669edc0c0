"""Which messages no client heeds any more: too old, or from a device that is gone.

Only requests: a cancellation of one stays, since somebody may have been shown the
request.

Pure: nothing here knows of Synapse, SQL or time.
"""

from __future__ import annotations

from typing import Collection, Iterable

import attrs

from synapse_withheld.rules.notice import Asker, Notice


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


def askers_of(notices: Iterable[Notice]) -> set[Asker]:
    """Return the devices that have to exist for somebody to heed notices."""
    return {each.asker for each in notices if each.asker is not None}
