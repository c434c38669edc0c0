"""Mailboxes in memory, and the module's own code before them."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import ensureDeferred

from synapse_withheld.cli.shared.explaining.mailboxes import Mailboxes
from synapse_withheld.config import Config
from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.wiring import wire
from tests.harness.messages import make_key, make_message, make_notice


class Inbox(Mailboxes):
    """Mailboxes that count what is stored, and the statements of the module."""

    # As with workers.
    sees_reads = False

    def __init__(self) -> None:
        super().__init__()
        self.statements = 0
        self.stored = 0

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        self.statements += 1
        return await super().run_statement(description, function, *arguments)

    async def store(self, messages: LocalMessages) -> None:
        self.stored += 1
        await super().store(messages)

    def send(self, batch: LocalMessages, through: Traffic | None) -> None:
        """Store a batch, straight or through the module, and come to rest."""
        if through is None:
            ensureDeferred(self.store(batch))
            return

        async def write(kept: LocalMessages, _: Edus) -> None:
            # Of nothing Synapse's code for writing is not entered.
            if kept:
                await self.store(kept)

        ensureDeferred(through.store(batch, {}, write))
        self.come_to_rest()


def module_before(inbox: Mailboxes, config: Config, name: str) -> Traffic:
    """Return what all batches go through that are for some mailboxes."""
    return wire(config, inbox, Metrics(name), Tally(inbox.runtime().seconds))


def notice_for(mailbox: MailboxKey, sender: str) -> LocalMessages:
    """Return a batch with the notice of one sender for one mailbox."""
    user_id, device_id = mailbox
    content = make_notice(make_key(sender), "DEVICE")
    return {user_id: {device_id: make_message(sender, content)}}
