"""Mailboxes in memory, and the module's own code before them."""

from __future__ import annotations

from typing import Any, Callable

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
    """Mailboxes that count what is stored, and the statements of the module."""

    sees_reads = False  # as with workers

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.statements = self.stored = 0
        tally = Tally(self.runtime().seconds)
        self.traffic = wire(config, self, Metrics("bench"), tally)

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        self.statements += 1
        return await super().run_statement(description, function, *arguments)

    async def store(self, messages: LocalMessages) -> None:
        self.stored += 1
        await super().store(messages)

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
