"""Nothing that clients or servers send makes the module fail or lose a message.

What they have a say in is odd in every part. It goes through the module as in the
model, and what is stored is held against what was sent.
"""

from __future__ import annotations

import itertools
from typing import Any, Optional

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.harness.rules import EVERY_RULE
from tests.model.machine import cases
from tests.model.play import Play
from tests.model.redundancy import OLM as ENCRYPTED
from tests.model.redundancy import (
    REQUESTS,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    WITHHELD,
)
from tests.model.reference import Reference

KEY = "QeAhSkZ61rtR5oJ"
HERE = ["@a:here", "@b:here", "@:here", "@\0:here", "@\ud800:here"]
NAMES = [*HERE, "@c:there", "@c:there", "@d:other", "", "@:", "*", "\0:there"]
DEVICES = ["", "\0", "\udfff", "\u202e", f"key:{KEY}", "D" * 300]
TYPES = [
    *(*WITHHELD, ENCRYPTED, *REQUESTS, VERIFICATION_REQUEST, VERIFICATION_CANCEL),
    *("m.room_key.withheld\0", ""),
]
# A client's type is part of an address.
TYPES_OF_SERVERS: list[Any] = [*TYPES, None, 7, WITHHELD, {ENCRYPTED: 1}]
KEYS = [
    *("code", "algorithm", "sender_key", "from_device", "room_id", "session_id"),
    *("ciphertext", "reason", "action", "request_id", "requesting_device_id"),
    *("transaction_id", "timestamp", "org.matrix.msgid", "__proto__", ""),
]
STRINGS = [
    *("m.no_olm", "m.unverified", "m.blacklisted", "request", "request_cancellation"),
    *("m.megolm.v1.aes-sha2", "m.olm.v1.curve25519-aes-sha2", "M.NO_OLM", KEY, "A"),
    *("", "\0", "\ud83d", "\U0001f511", "x" * 64, "x" * 65, "x" * 255, "x" * 256),
]
SCALARS: list[Any] = [None, True, False, 0, -1, 2**63, 1e308, float("nan")]

NOTICE = {"algorithm": "m.megolm.v1.aes-sha2", "sender_key": KEY, "code": "m.no_olm"}
OF_DEVICE = {**NOTICE, "from_device": "A"}
SESSION = {**NOTICE, "code": "m.unverified", "room_id": "A", "session_id": "A"}
OLM = {"algorithm": "m.olm.v1", "sender_key": KEY, "ciphertext": {"theirs": {}}}
REQUEST = {
    "action": "request",
    "request_id": "A",
    "requesting_device_id": "A",
    "transaction_id": "A",
}
KNOWN = [NOTICE, OF_DEVICE, SESSION, OLM, REQUEST]

values = st.recursive(
    st.sampled_from([*STRINGS, *STRINGS, *SCALARS]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
changes = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
changed = st.builds(
    lambda known, some: {**known, **some}, st.sampled_from(KNOWN), changes
)
contents = st.one_of(st.sampled_from(KNOWN), st.sampled_from(KNOWN), changed, values)


# Origin, sender, type, and what is said to each device.
Request = tuple[Optional[str], str, Any, dict[tuple[str, str], Any]]


def _requests_of(origin: str | None) -> st.SearchStrategy[Request]:
    # A client is a user of this server, as is whom another server's messages are for.
    senders, users = (HERE, NAMES) if origin is None else (NAMES, HERE)
    types = TYPES if origin is None else TYPES_OF_SERVERS
    devices = st.sampled_from(["A", "B", "*"]) | st.sampled_from(DEVICES)
    places = st.tuples(st.just(HERE[0]) | st.sampled_from(users), devices)
    usual = HERE[0] if origin is None else f"@c:{origin}"
    return st.tuples(
        st.just(origin),
        st.just(usual) | st.sampled_from(senders),
        st.just(WITHHELD[0]) | st.sampled_from(types),
        st.dictionaries(places, contents, max_size=5),
    )


origins = st.sampled_from([None, None, "there", "other", "", "\0"])
requests = origins.flatmap(_requests_of)


@st.composite
def sequences(draw: st.DrawFn) -> list[Request]:
    """What is drawn anew seldom has to do with what came before."""
    made = [draw(requests)]
    for _ in range(draw(st.integers(0, 3))):
        origin, sender, message_type, said = draw(st.sampled_from(made))
        happens = draw(st.sampled_from(["new", "olm", "again", "again", "changed"]))
        if happens == "new":
            made.append(draw(requests))
        elif happens == "olm":
            to_all = draw(st.booleans())
            places = [
                (user, "*") if to_all else (user, device) for user, device in said
            ]
            made.append((origin, sender, ENCRYPTED, dict.fromkeys(places, OLM)))
        elif happens == "again":
            made.append((origin, sender, message_type, said))
        else:
            said = {place: draw(contents) for place in said}
            made.append((origin, sender, message_type, said))
    return made


def put_through(sequence: list[Request]) -> None:
    play = Play(rules=EVERY_RULE)
    Play.made.pop()
    reference = Reference(play)
    play.hs.service_users.add("@b:here")
    for place in itertools.product(["@a:here", "@b:here"], "AB"):
        play.hs.add_device(*place)
    for number, (origin, sender, message_type, said) in enumerate(sequence):
        edu = None if origin is None else (origin, str(number))
        sent = repr(said)
        play.begin_all(said, message_type, sender=sender, edu=edu)
        play.hs.come_to_rest()
        assert sent == repr(said), "it was changed"
        assert [] == play.failures
    play.check()
    reference.check()


@cases(examples=1000)
@given(sequences())
def test_nothing_that_is_sent_makes_the_module_fail_or_lose_a_message(
    sequence: list[Request],
) -> None:
    """Neither an exception, caught or not, nor a message that is no notice."""
    put_through(sequence)


def test_a_lost_message_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that takes any repeat for a duplicate is caught."""
    monkeypatch.setattr(
        "synapse_withheld.delivery.settling.without",
        lambda messages, _: type(messages)(),
    )
    said: dict[tuple[str, str], Any] = {("@a:here", "A"): NOTICE, ("@a:here", "B"): {}}
    with pytest.raises(AssertionError):
        put_through([(None, "@a:here", WITHHELD[0], said)] * 2)
