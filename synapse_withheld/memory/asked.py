"""What was requested in one mailbox, and may vanish with its cancellation."""

from __future__ import annotations

from typing import Dict, Tuple

import attrs

from synapse_withheld.rules.notice import Notice, Pair

# A rule's name and a pair of it.
PairOfRule = Tuple[str, Pair]


@attrs.define(eq=False, weakref_slot=False)
class Asked:
    """What was requested in one mailbox since it was opened.

    Attributes:
        lowest: By pair: the lowest stream ID of its requests, also of those that are
            gone: one that was handed out, cancelled, repeated and cancelled again needs
            its last cancellation.
        going: By stream ID: requests that are redundant and may still be there.
        waits: By pair: how many of those there are.
    """

    lowest: Dict[PairOfRule, int] = attrs.Factory(dict)
    going: Dict[int, Notice] = attrs.Factory(dict)
    waits: Dict[PairOfRule, int] = attrs.Factory(dict)
