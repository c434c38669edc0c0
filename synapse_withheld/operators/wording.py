"""What decisions and failures mean, in the words of `docs/metrics.md`."""

from __future__ import annotations

from synapse_withheld.rules import decision
from synapse_withheld.rules.decision import Decision

WHY: dict[Decision, str] = {
    decision.FIRST: "no notice of the pair is known to be queued",
    decision.NOT_REPEATED: "the queued one says something else, and stays",
    decision.NOT_QUEUED: "the one that was known is not queued any more: acknowledged "
    "or sent, or its device is being deleted",
    decision.NO_ROOM: "one of the max_… limits is reached; stored, but not remembered",
    decision.UNKNOWN_DEVICE: "there is no such device; Synapse stores nothing for it",
    decision.SPOOFED_SENDER: "the sender is not on the server that sent it; left alone",
    decision.WAITED: "the sender's earlier notices took too long",
    decision.FAILED: "something of the module failed; the newest notice is stored "
    "whatever is queued",
    decision.ALREADY_RECEIVED: "a repeated EDU; Synapse stores nothing of it",
    decision.UNWATCHED: "the queued notice was found by reading the mailbox, so Olm "
    "messages since then may have been missed",
    decision.NEW_KEY: "the same device has another key now",
    decision.REARMED: "an Olm message passed between the two ends",
    decision.SCOPE: "the queued notice names a session and the new one does not",
    decision.DEVICE_CHANGED: "the recipient's device changed, so it may be another one",
    decision.NEVER_ACKNOWLEDGED: "the reader never acknowledges: an application "
    "service or a dehydrated device",
    decision.WILDCARD: "it is for all devices of the user, and another of them needs "
    "it",
    decision.NEW_CODE: "the queued one has another code for the same session",
    decision.REPEATED: "the queued one says the same",
    decision.CANCELLED: "it takes the queued one back",
    decision.DUPLICATE: "a queued notice already says all of it",
    decision.HELD: "with repeat: session: one that says all of it was delivered, and "
    "nothing has happened since",
}

# By the stages of `metrics.STAGES`.
WHAT_FAILED: dict[str, str] = {
    "decide": "the decision about a batch",
    "statement": "one of the module's reads, or it took too long; after five within a "
    "minute the module stands aside for a minute",
    "record": "bringing the index up to date; it is cleared",
    "rearm": "noting an Olm message; the index is cleared",
    "tidy": "deleting superseded rows; they stay until their mailbox is next read",
    "sweep": "a batch of the sweep in the background; it rests for a minute and goes "
    "on, and gives up after five in a row",
}
