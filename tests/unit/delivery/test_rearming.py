"""Olm messages: which of a batch there are, and what they re-arm in which queue."""

from __future__ import annotations

from typing import Any, Tuple

import pytest

from synapse_withheld.delivery.batch import Edus, LocalMessages
from synapse_withheld.delivery.rearming import OlmPassed, Rearming, olm_messages
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.content import OLM_TYPE
from synapse_withheld.rules.mailbox import WILDCARD
from tests.unit.memory.naming import no_olm, store

US, THEM, THIRD = "@u:here", "@t:there", "@x:here"
OLM = {"algorithm": "m.olm.v1", "sender_key": "k1"}
KEYLESS = {"algorithm": "m.olm.v1"}
MEGOLM = {"algorithm": "m.megolm.v1", "sender_key": "k1"}


def local(sender: str, content: Any = OLM, *, device: str = "D") -> LocalMessages:
    return {US: {device: {"content": content, "type": OLM_TYPE, "sender": sender}}}


def edu(sender: str, messages: Any, message_type: str = OLM_TYPE) -> dict[str, Any]:
    return {"sender": sender, "type": message_type, "messages": messages}


def test_the_olm_messages_of_a_batch_are_told_from_others() -> None:
    """In both queues, with the key of the device that sends them."""
    messages = {
        US: {"D": {"content": OLM, "sender": THIRD}},
        THIRD: {
            "E": {"content": MEGOLM, "sender": THIRD},
            WILDCARD: {"content": KEYLESS, "sender": THIRD},
        },
    }
    edus: Edus = {
        "else": edu(THIRD, {"@e:else": {"D": OLM}}, "m.room_key.withheld"),
        "there": edu(THIRD, {THEM: {"D": MEGOLM, "E": OLM}}),
    }

    assert [
        OlmPassed(US, "D", THIRD, "k1", abroad=False),
        OlmPassed(THIRD, WILDCARD, THIRD, None, abroad=False),
        OlmPassed(THEM, "E", THIRD, "k1", abroad=True),
    ] == olm_messages(messages, edus, None)


# To which user and device, by whom, with which key.
Told = Tuple[str, str, str, str]
TO_ALL = local(THIRD, device=WILDCARD)
TO_ALL[THIRD] = TO_ALL[US]


@pytest.mark.parametrize(
    ("inbox", "outbox", "olm", "origin", "expected"),
    [
        # One that tells no key: only what it answers, since nobody knows between which
        # devices it is.
        (
            [(US, "D", THIRD, "k1"), (THIRD, "X", US, "k1")],
            [],
            local(THIRD, KEYLESS),
            None,
            {"to_sender": 1},
        ),
        # What it answers, where that is queued: here for another server.
        (
            [(THEM, "T", US, "k9"), (THEM, "U", US, "k9")],
            [(THEM, "T", US, "k9")],
            local(THEM),
            "there",
            {"to_sender": 1},
        ),
        # One to another server: what is queued for that, and what was told from there.
        (
            [(US, "A", THEM, "k7"), (US, "B", THEM, "k8"), (THEM, "D", US, "k1")],
            [(THEM, "D", US, "k1"), (THEM, "E", US, "k1"), (US, "A", THEM, "k7")],
            {"there": edu(US, {THEM: {"D": OLM, "E": OLM}, "@v:there": {"D": OLM}})},
            None,
            {"to_recipient": 2, "to_sender": 2},
        ),
        # One to all devices: all between the two, whichever key it names. Of those to
        # oneself, one is an answer to the other.
        (
            [
                (US, "D", THIRD, "k1"),
                (US, "E", THIRD, "k2"),
                (US, "D", THEM, "k1"),
                (THIRD, "D", THIRD, "k1"),
            ],
            [],
            TO_ALL,
            None,
            {"to_recipient": 3, "to_sender": 1},
        ),
    ],
)
def test_an_olm_message_rearms_what_was_told_between_its_ends(
    metrics: Metrics,
    inbox: list[Told],
    outbox: list[Told],
    olm: dict[str, Any],
    origin: str | None,
    expected: dict[str, float],
) -> None:
    memories = []
    for rows in (inbox, outbox):
        memory = Memory(Limits(1000), sees_reads=True, hold_s=None)
        memories.append(memory)
        for user_id, device_id, sender, key in rows:
            memory.open((user_id, device_id), 0)
            said = no_olm(key, sender=sender, device=key)
            store(memory, said, 5, (user_id, device_id))
    messages = ({}, olm) if "there" in olm else (olm, {})
    rearming = Rearming(memories[0], memories[1], metrics)
    rearming.passed(olm_messages(*messages, origin), origin)

    counted = metrics.read(series.REARMED)
    assert expected == {labels["direction"]: value for labels, value in counted}
