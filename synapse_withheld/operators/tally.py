"""What was decided lately, and for whom: what metrics must not have labels for."""

from __future__ import annotations

from typing import Callable

from synapse_withheld.operators.heavy_hitters import HeavyHitters
from synapse_withheld.operators.history import History
from synapse_withheld.rules.content import MAX_ID_LENGTH
from synapse_withheld.rules.decision import Decision
from synapse_withheld.rules.mailbox import MailboxKey

# How many senders and how many recipients are counted at once: so many that what
# makes up a tenth of a percent of all notices is surely among them.
CAPACITY = 1000


class Tally:
    """Decisions of the last hour, and the busiest senders and recipients ever since.

    Attributes:
        history: Decisions by their action.
        senders: Notices by their rule and the user who sent them.
        recipients: Notices by their rule and the mailbox that they are for.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Start with nothing, by a clock in seconds that never goes back."""
        self.history = History(seconds)
        self.senders: HeavyHitters[tuple[str, str]] = HeavyHitters(CAPACITY)
        self.recipients: HeavyHitters[tuple[str, MailboxKey]] = HeavyHitters(CAPACITY)

    def decided(self, decision: Decision, times: int = 1) -> None:
        self.history.add(decision.action, times)

    def came_from(self, rule: str, sender: str, times: int = 1) -> None:
        self.senders.add((rule, sender[:MAX_ID_LENGTH]), times)

    def came_for(self, rule: str, mailbox: MailboxKey) -> None:
        user_id, device_id = mailbox
        # Anybody may invent a device, and give it a long name.
        short = (user_id[:MAX_ID_LENGTH], device_id[:MAX_ID_LENGTH])
        self.recipients.add((rule, short))
