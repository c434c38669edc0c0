"""What decisions and failures mean, in the words of `docs/metrics.md`."""

from __future__ import annotations

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision

WHY: dict[Decision, str] = {
    decision.FIRST: "no notice of the pair is known to be queued",
    decision.UNKNOWN_DEVICE: "there is no such device; Synapse stores nothing for it",
    decision.NOT_REPEATED: "what is queued, or being stored, says something else and "
    "stays",
    decision.READ: "its reader began to read the mailbox after the known one was "
    "stored; only where one process does everything",
    decision.NOT_QUEUED: "the known one is not queued any more: acknowledged or sent, "
    "or its device is being deleted",
    decision.RELEASED: "it waited to be confirmed, and its sender sent the user "
    "something that would have overtaken it",
    decision.OVERDUE: "the database did not confirm it in time",
    decision.RESTING: "a statement of the module failed just now, so nothing is asked "
    "for some seconds",
    decision.LIMIT: "one request had more than 250 messages, which were stored "
    "without a look; or something else of the sender while they were",
    decision.SPOOFED_SENDER: "the sender is not on the server that sent it; left alone",
    decision.ALREADY_RECEIVED: "a repeated EDU; Synapse stores nothing of it",
    decision.FAILED: "something of the module failed; it was stored as it came",
    decision.NEW_KEY: "the same device has another key now",
    decision.REARMED: "an Olm message passed between the two ends",
    decision.SCOPE: "the queued notice names a session and the new one does not",
    decision.DEVICE_CHANGED: "the recipient's device changed, so it may be another one",
    decision.NEVER_ACKNOWLEDGED: "the reader never acknowledges: an application "
    "service or a dehydrated device",
    decision.WILDCARD: "it is for all devices of the user, and another of them may "
    "need it",
    decision.NEW_CODE: "the queued one has another code for the same session",
    decision.REPEATED: "the queued one says the same. Of requests the newest stays. A "
    "notice: the queued one was found in the database, so Olm messages since then may "
    "have been missed",
    decision.CANCELLED: "it takes the queued one back",
    decision.DUPLICATE: "a queued notice already says all of it",
    decision.HELD: "with repeat: session: one that says all of it was delivered, and "
    "nothing has happened since",
}

# By the stages of `series.STAGES`.
WHAT_FAILED: dict[str, str] = {
    "decide": "the decision about a batch",
    "statement": "the statement that confirms duplicates. After that nothing is asked "
    "for a second, doubled with each failure in a row, up to ten",
    "record": "bringing the memory up to date; it is cleared",
    "rearm": "noting an Olm message; the memory is cleared",
    "tidy": "work in the background: learning a mailbox or deleting redundant rows. It "
    "is tried three times, then left to the next notice or the sweep",
    "sweep": "a batch of the sweep in the background; it rests for a minute and goes "
    "on, and gives up after five in a row, until the next sweep is due",
}
