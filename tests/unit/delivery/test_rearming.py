"""Olm messages: which of a batch there are, and what they re-arm in which queue."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from synapse_withheld.delivery.batch import WILDCARD, Edus, LocalMessages
from synapse_withheld.delivery.rearming import OlmPassed, Rearming, olm_messages
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.content import OLM_TYPE
from synapse_withheld.rules.no_olm import WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice, Pair

US, THEM, THIRD = "@u:here", "@t:there", "@x:here"
OLM = {"algorithm": "m.olm.v1", "sender_key": "k1"}
KEYLESS = {"algorithm": "m.olm.v1"}
MEGOLM = {"algorithm": "m.megolm.v1", "sender_key": "k1"}


@attrs.define
class Place:
    """What is remembered of both queues, and what is re-armed."""

    inbox: Memory
    outbox: Memory
    rearming: Rearming

    def passes(
        self, local: LocalMessages, edus: Edus | None = None, origin: str | None = None
    ) -> dict[str, float]:
        """Let messages pass; return how much was re-armed so far, by direction."""
        self.rearming.passed(olm_messages(local, edus or {}, origin), origin)
        return {
            labels["direction"]: value
            for labels, value in self.rearming.metrics.read(series.REARMED)
        }


@pytest.fixture
def place(metrics: Metrics) -> Place:
    """Return memories, with metrics that are those of this test alone."""
    inbox, outbox = (
        Memory(Limits(1000), sees_reads=True, hold_s=None) for _ in range(2)
    )
    return Place(inbox, outbox, Rearming(inbox, outbox, metrics))


def store(memory: Memory, user_id: str, device_id: str, sender: str, key: str) -> None:
    pair = Pair(sender, f"device:{key}", "m.room_key.withheld")
    memory.open((user_id, device_id), 0)
    said = Notice(NoOlm(), pair, key, WHOLE)
    memory.settle(memory.begin((user_id, device_id), said, sender, 0, 0.0), 5)


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


@pytest.mark.parametrize(("origin", "expected"), [(None, 1), ("there", 1), ("else", 0)])
def test_what_a_server_may_not_send_passes_between_nobody(
    origin: str | None, expected: int
) -> None:
    """Or it could have everybody's notices stored again."""
    assert expected == len(olm_messages(local(THEM), {}, origin))


def test_an_olm_message_rearms_what_its_sender_told_the_device(place: Place) -> None:
    """With its key, to no other device, by nobody else."""
    for device, sender, key in [
        ("D", THIRD, "k1"),
        ("D", THIRD, "k2"),
        ("E", THIRD, "k1"),
        ("D", THEM, "k1"),
    ]:
        store(place.inbox, US, device, sender, key)
    store(place.outbox, US, "D", THIRD, "k1")

    assert {"to_recipient": 1} == place.passes(local(THIRD))


def test_one_that_tells_no_key_rearms_only_what_it_answers(place: Place) -> None:
    """Nobody knows between which devices it is."""
    store(place.inbox, US, "D", THIRD, "k1")
    store(place.inbox, THIRD, "X", US, "k1")

    assert {"to_sender": 1} == place.passes(local(THIRD, KEYLESS))


def test_what_an_olm_message_answers_is_rearmed_where_it_is_queued(
    place: Place,
) -> None:
    """What one of this server told one elsewhere is in the outbox."""
    store(place.outbox, THEM, "T", US, "k9")
    for device in "TU":
        store(place.inbox, THEM, device, US, "k9")
    assert {"to_sender": 1} == place.passes(local(THEM), origin="there")

    # Another user of this server has it in the inbox.
    store(place.inbox, THIRD, "X", US, "k9")
    assert {"to_sender": 2} == place.passes(local(THIRD))


def test_an_olm_message_to_another_server_rearms_what_is_queued_for_it(
    place: Place,
) -> None:
    """And what was told from there, which is in the inbox."""
    for device in "DE":
        store(place.outbox, THEM, device, US, "k1")
    store(place.inbox, US, "A", THEM, "k7")
    store(place.inbox, US, "B", THEM, "k8")
    store(place.inbox, THEM, "D", US, "k1")
    store(place.outbox, US, "A", THEM, "k7")
    some = {THEM: {"D": OLM, "E": OLM}, "@v:there": {"D": OLM}}

    expected = {"to_recipient": 2, "to_sender": 2}
    assert expected == place.passes({}, {"there": edu(US, some)})


def test_an_olm_message_to_all_devices_rearms_all_between_the_two(
    place: Place,
) -> None:
    """Whichever key it names, and whoever else gets one."""
    for device, key in [("D", "k1"), ("E", "k2")]:
        store(place.inbox, US, device, THIRD, key)
    store(place.inbox, US, "D", THEM, "k1")
    store(place.inbox, THIRD, "D", THIRD, "k1")
    to_all = {**local(THIRD, device=WILDCARD)}
    to_all[THIRD] = to_all[US]

    # Of those to oneself, one is an answer to the other.
    assert {"to_recipient": 3, "to_sender": 1} == place.passes(to_all)
