"""Messages of all kinds that the model sends, in words and at random."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

import hypothesis.strategies as st

from tests.harness.messages import ENCRYPTED, OLDER_WITHHELD
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    WITHHELD,
)
from tests.model.play import NOTICE, OLM, SESSION

# The type and the content.
Message = tuple[str, dict[str, Any]]


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


def _session(
    code: str = "unverified", session: str = "session", key: str = "key"
) -> Message:
    more = {"code": f"m.{code}", "session_id": session, "sender_key": key}
    return WITHHELD, {**SESSION, **more}


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
    "session": _session,
    "olm": lambda key="key": (ENCRYPTED, {**OLM, "sender_key": key}),
    "text": lambda number="1": ("m.dummy", {"n": number}),
    "request": partial(_asked, KEY_REQUEST, "request"),
    "cancel": partial(_asked, KEY_REQUEST, "request_cancellation"),
    "secret": partial(_asked, SECRET_REQUEST, "request"),
    "cancel-secret": partial(_asked, SECRET_REQUEST, "request_cancellation"),
    "verify": _verify,
    "start": lambda: ("m.key.verification.start", {"transaction_id": "1"}),
    "cancel-verify": lambda which="1": verification(VERIFICATION_CANCEL, which),
}


def said(words: str) -> Message:
    """Return what is said with a word and what follows it."""
    name, *more = words.split(".")
    return WORDS[name](*more)


# At random.

keys = st.sampled_from(["key-1", "key-1", "key-2"])
notice_words = st.builds(
    "notice.{}.{}.{}.{}".format,
    keys,
    # One device is called like a key: the two never meet.
    st.sampled_from(["S1", "S1", "S1", "", "key-1"]),
    st.sampled_from(["", "", "", "session-1", "session-2"]),
    st.sampled_from(["", "", "older"]),
)
notices = notice_words.map(said)

few = st.sampled_from(["1", "2"])
rarely = st.sampled_from(["1", "1", "1", "2"])
requests = st.sampled_from(["request", "cancel", "secret", "cancel-secret"])
codes = st.sampled_from(["blacklisted", "unverified", "own"])
words = st.one_of(
    few.map("notice.{}.".format),
    st.builds("session.{}.{}.{}".format, codes, few, few),
    st.builds("{}.{}.S1.{}".format, requests, few, rarely),
    st.builds("{}.{}".format, st.sampled_from(["verify", "cancel-verify"]), few),
    st.integers(0, 9).map("text.{}".format),
)
messages = words.map(said)
