"""Nothing that clients or servers send makes the module fail or lose a message.

What they have a say in is odd in every part. It goes through the module as in the
model, and what is stored is held against what was sent.
"""

from __future__ import annotations

import itertools
from typing import Any, Optional

import hypothesis.strategies as st
from hypothesis import given

from tests.harness.rules import EVERY_RULE
from tests.model import messages
from tests.model.play import ENCRYPTED, NOTICE, OLM, SESSION, Play
from tests.model.redundancy import (
    REQUESTS,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    WITHHELD,
)
from tests.model.reference import Reference

HERE = ["@a:here", "@b:here", "@:here", "@\0:here", "@\ud800:here"]
NAMES = [*HERE, "@c:there", "@c:there", "@d:other", "", "@:", "*", "\0:there"]
DEVICES = ["", "\0", "\udfff", "\u202e", "key:key", "D" * 300]
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
    *("m.megolm.v1.aes-sha2", "m.olm.v1.curve25519-aes-sha2", "M.NO_OLM", "key", "A"),
    *("", "\0", "\ud83d", "\U0001f511", "x" * 64, "x" * 65, "x" * 255, "x" * 256),
]
SCALARS: list[Any] = [None, True, False, 0, -1, 2**63, 1e308, float("nan")]

OF_KEY, REQUEST, VERIFY = (
    messages.said(word)[1] for word in ("notice.key.", "request", "verify")
)
KNOWN: list[Any] = [NOTICE, OF_KEY, SESSION, OLM, {**REQUEST, **VERIFY}]

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


def requests_of(origin: str | None) -> st.SearchStrategy[Request]:
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
requests = origins.flatmap(requests_of)


@st.composite
def sequences(draw: st.DrawFn) -> list[Request]:
    """What is drawn anew seldom has to do with what came before."""
    made = [draw(requests)]
    for _ in range(draw(st.integers(0, 3))):
        origin, sender, message_type, said = draw(st.sampled_from(made))
        about = (st.just(origin), st.just(sender))
        says = st.just(said) | st.fixed_dictionaries(dict.fromkeys(said, contents))
        again = st.tuples(*about, st.just(message_type), says)
        to_all = {(user, "*"): OLM for user, _ in said}
        olm = st.sampled_from([to_all, dict.fromkeys(said, OLM)])
        answer = st.tuples(*about, st.just(ENCRYPTED), olm)
        made.append(draw(st.one_of(requests, again, again, again, answer)))
    return made


@messages.AT_RANDOM
@given(sequences())
def test_nothing_that_is_sent_makes_the_module_fail_or_lose_a_message(
    sequence: list[Request],
) -> None:
    """Neither an exception, caught or not, nor a message that is no notice."""
    play = Play(rules=EVERY_RULE, devices=())
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
