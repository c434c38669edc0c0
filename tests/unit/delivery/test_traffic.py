"""Traffic: what it hears of those who read."""

from __future__ import annotations

import types
from typing import Any, cast

from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.memory.memory import Limits, Memory

USER, OTHER = "@r:here", "@q:here"


def test_who_reads_for_all_devices_of_a_user_is_handed_all_that_they_have() -> None:
    """As bridges do; nobody else's mailboxes are meant."""
    memory = Memory(Limits(1000), sees_reads=True, hold_s=None)
    mailboxes = [
        memory.open(key, 3) for key in [(USER, "A"), (USER, "B"), (OTHER, "A")]
    ]
    inbox = types.SimpleNamespace(memory=memory)
    traffic = Traffic(cast(Any, inbox), *cast(Any, [None] * 10))
    traffic.note_read_of_user(USER, 7)

    assert [7, 7, 3] == [mailbox.handed_out for mailbox in mailboxes]
