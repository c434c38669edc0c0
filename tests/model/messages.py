"""Messages of all kinds that the model sends, in words and at random."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

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
from tests.model.play import NOTICE, OLM, SESSION
from tests.model.redundancy import ACTIONS

# The type and the content.
Message = tuple[str, dict[str, Any]]


def withheld(code: str, session: str, key: str) -> Message:
    """Return a withheld message."""
    content = {"algorithm": MEGOLM, "code": code, "sender_key": key}
    if code != "m.no_olm":
        content |= {"room_id": "!room", "session_id": session}
    return WITHHELD, content


def request(
    message_type: str, action: str, which: str, about: str, device: str = "S1"
) -> Message:
    """Return a request or a cancellation."""
    content: dict[str, Any] = {
        "action": action,
        "requesting_device_id": device,
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


# In words.


def _notice(
    key: str = "key", device: str = "S1", session: str = "", kind: str = WITHHELD
) -> Message:
    content: dict[str, Any] = {**NOTICE, "sender_key": key}
    content |= {"from_device": device or None}
    content |= {"room_id": "!room", "session_id": session} if session else {}
    return (OLDER_WITHHELD if kind == "older" else WITHHELD), content


def _asked(
    kind: str, action: str, which: str = "1", device: str = "S1", about: str = "session"
) -> Message:
    return request(kind, action, which, about, device)


def _verify(which: str = "1", timestamp: str | None = None) -> Message:
    more = {} if timestamp is None else {"timestamp": int(timestamp)}
    return verification(VERIFICATION_REQUEST, which, **more)


# What is said, with what may follow a word after a dot.
WORDS: dict[str, Callable[..., Message]] = {
    "notice": _notice,
    "again": lambda: (WITHHELD, {**NOTICE, "reason": "again"}),
    "older-type": partial(_notice, kind="older"),
    "scoped": partial(_notice, session="session"),
    "session": lambda code="unverified": (WITHHELD, {**SESSION, "code": f"m.{code}"}),
    "olm": lambda key="key": (ENCRYPTED, {**OLM, "sender_key": key}),
    "text": lambda: ("m.dummy", {"n": 1}),
    "request": partial(_asked, KEY_REQUEST, "request"),
    "cancel": partial(_asked, KEY_REQUEST, "request_cancellation"),
    "secret": partial(_asked, SECRET_REQUEST, "request"),
    "cancel-secret": partial(_asked, SECRET_REQUEST, "request_cancellation"),
    "verify": _verify,
    "start": lambda: ("m.key.verification.start", {"transaction_id": "1"}),
    "cancel-verify": lambda which="1": verification(VERIFICATION_CANCEL, which),
}

# At random.

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
