"""Messages of all kinds that the model sends, and what there is to choose from."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

from tests.harness.messages import (
    ENCRYPTED,
    MEGOLM,
    OLDER_WITHHELD,
    make_notice,
    make_olm_lookalike,
)
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    WITHHELD,
)
from tests.model.redundancy import ACTIONS

# The type and the content.
Message = tuple[str, dict[str, Any]]


def withheld(code: str, session: str, key: str) -> Message:
    """Return a withheld message."""
    content = {"algorithm": MEGOLM, "code": code, "sender_key": key}
    if code != "m.no_olm":
        content |= {"room_id": "!room", "session_id": session}
    return WITHHELD, content


def request(message_type: str, action: str, which: str, about: str) -> Message:
    """Return a request or a cancellation."""
    content: dict[str, Any] = {
        "action": action,
        "requesting_device_id": "S1",
        "request_id": which,
    }
    if action == "request":
        content["body"] = {"session_id": about}
    return message_type, content


def verification(message_type: str, transaction: str, **more: Any) -> Message:
    """Return a request to verify or a cancellation."""
    if message_type == VERIFICATION_REQUEST:
        more = {"from_device": "S1", **more}
    return message_type, {"transaction_id": transaction, **more}


def sent_by(device: str, now_ts: int, message: Message) -> Message:
    """Return a message as a device sends it that logged in at some time.

    Transactions with an even number have no time: there is one request of each.
    """
    kind, content = message
    content = dict(content)
    if "requesting_device_id" in content:
        content["requesting_device_id"] = device
    if "transaction_id" in content:
        number = content["transaction_id"]
        content["transaction_id"] = device + number
        if kind == VERIFICATION_REQUEST:
            content["from_device"] = device
            content |= {"timestamp": now_ts} if int(number) % 2 else {}
    return kind, content


keys = st.sampled_from(["key-1", "key-1", "key-2"])
# One is called like a key: the two never meet.
from_devices = st.sampled_from(["S1", "S1", "S1", None, "key-1"])
scopes = st.sampled_from([None, None, None, "session-1", "session-2"])
notices: st.SearchStrategy[Message] = st.tuples(
    st.sampled_from([WITHHELD, WITHHELD, OLDER_WITHHELD]),
    st.builds(make_notice, keys, from_devices, session_id=scopes),
)
# An Olm message, or something that no rule names.
olm_messages = st.tuples(st.just(ENCRYPTED), keys.map(make_olm_lookalike))
others = st.one_of(olm_messages, olm_messages, st.just(("m.dummy", {"n": 1})))

few = st.sampled_from(["1", "2"])
rarely = st.sampled_from(["1", "1", "1", "2"])
codes = st.sampled_from(["m.no_olm", "m.blacklisted", "m.unverified", "org.own"])
kinds = st.sampled_from([KEY_REQUEST, SECRET_REQUEST])
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(withheld, codes, few, few),
    st.builds(request, kinds, st.sampled_from(ACTIONS), few, rarely),
    st.builds(
        verification, st.sampled_from([VERIFICATION_REQUEST, VERIFICATION_CANCEL]), few
    ),
    st.builds(lambda n: ("m.dummy", {"n": n}), st.integers(0, 9)),
)
