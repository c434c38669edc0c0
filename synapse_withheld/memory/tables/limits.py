"""How much is remembered at most, and of whom."""

from __future__ import annotations

import attrs

# One sender in one mailbox, of each rule. A device has one notice of `no_olm`, and
# one of `withheld` for each session; of requests many are of one pair of devices.
MOST_OF_SENDER = 100
MOST_REQUESTS_OF_SENDER = 1_000

# One pair. More than two are only of who asks for many things under one ID, of who
# cancels a verification again and again, or of keys that were found in the database.
MOST_OF_PAIR = 10


@attrs.frozen
class Limits:
    """How many rows of one queue are remembered.

    Attributes:
        max_pairs: In all; what follows is derived from it.
        mailboxes: In how many mailboxes, those included that hold nothing.
        of_mailbox: In one mailbox.
        of_who: Of one who.
        of_who_in_mailbox: Of one who in one mailbox.
    """

    max_pairs: int
    mailboxes: int = attrs.field(kw_only=True)
    of_mailbox: int = attrs.field(kw_only=True)
    of_who: int = attrs.field(kw_only=True)
    of_who_in_mailbox: int = attrs.field(kw_only=True)

    @mailboxes.default
    def _mailboxes(self) -> int:
        return self.max_pairs // 2

    @of_mailbox.default
    @of_who.default
    def _of_mailbox(self) -> int:
        return self.max_pairs // 10

    @of_who_in_mailbox.default
    def _of_who_in_mailbox(self) -> int:
        return self.of_mailbox // 10
