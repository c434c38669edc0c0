"""Mailboxes in memory, and the module's own code before them."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.explaining.mailboxes import Mailboxes
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.wiring import wire
from tests.harness.messages import make_key, make_message, make_notice


class Inbox(Mailboxes):
    """Its stream's token counts what is stored."""

    sees_reads = False  # as with workers

    def __init__(self) -> None:
        super().__init__()
        tally = Tally(self.runtime().seconds)
        self.traffic = wire(Config(), self, Metrics("bench"), tally)

    def send(self, batch: LocalMessages) -> None:
        """Store a batch through the module, and come to rest."""

        async def write(kept: LocalMessages, _: Edus) -> None:
            # Of nothing Synapse's code for writing is not entered.
            if kept:
                await self.store(kept)

        ensureDeferred(self.traffic.store(batch, {}, write))
        self.come_to_rest()


def notice_for(mailbox: MailboxKey, sender: str) -> LocalMessages:
    """Return a batch with the notice of one sender for one mailbox."""
    user_id, device_id = mailbox
    content = make_notice(make_key(sender), "DEVICE")
    return {user_id: {device_id: make_message(sender, content)}}
