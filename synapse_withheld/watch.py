"""What is remembered of a mailbox: its pairs, and what passed since they were stored.

Nothing here knows of Synapse, SQL or time, and nothing awaits.
"""

from __future__ import annotations

from typing import Tuple

import attrs

from synapse_withheld.notice import Notice, Pair

# (user ID, device ID) of the recipient.
MailboxKey = Tuple[str, str]


@attrs.frozen
class Superseded:
    """A queued row that a newer one of the same pair makes redundant."""

    mailbox: MailboxKey
    stream_id: int
    newer_stream_id: int


@attrs.define(eq=False, weakref_slot=False)
class Link:
    """What passed between a sender's key and a recipient user.

    Shared by all pairs of the key with that user's devices, so that an Olm
    message re-arms any number of them in one step.
    """

    olm_messages: int = 0
    users: int = 0


@attrs.define(eq=False, weakref_slot=False)
class Watch:
    """One notice from just before it is stored: re-armed by what passes since."""

    mailbox: MailboxKey
    notice: Notice
    device_list_id: int
    link: Link
    olm_messages: int
    rearmed_directly: bool = False
    stream_id: int = 0
    # Whether every Olm message since it was stored has been seen.
    complete: bool = True
    # Whether its row holds nothing else, so that it may be deleted.
    alone: bool = True
    # When it was last known not to be delivered yet, in seconds of a clock that
    # never goes back.
    undelivered_s: float = 0.0
    # The mailbox as it was remembered when the watch began, until it ends.
    started_in: Mailbox | None = None

    @property
    def rearmed(self) -> bool:
        """Say whether an Olm message passed since the watch began."""
        return self.rearmed_directly or self.olm_messages != self.link.olm_messages


@attrs.define(eq=False, weakref_slot=False)
class Mailbox:
    """The pairs known to be queued for one device, by sender."""

    senders: dict[str, dict[Pair, Watch]] = attrs.Factory(dict)
    pairs: int = 0


@attrs.frozen
class Limits:
    """How much the index may remember."""

    mailboxes: int
    pairs: int
    pairs_per_mailbox: int
    pairs_per_sender: int
