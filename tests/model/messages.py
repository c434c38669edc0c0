"""What plays say, in words and at random."""

from __future__ import annotations

import os
import re
from functools import partial
from typing import Any, Callable, Iterator

import hypothesis.strategies as st
from hypothesis import settings

from tests.harness.messages import ENCRYPTED, OLDER_WITHHELD
from tests.model.client import (
    KEY_REQUEST,
    SECRET_REQUEST,
    VERIFICATION_CANCEL,
    VERIFICATION_REQUEST,
    WITHHELD,
)
from tests.model.play import ABROAD, NOTICE, OLM, RECIPIENT, SESSION
from tests.model.tables import Place

# The type and the content.
Message = tuple[str, dict[str, Any]]


def request(
    kind: str, action: str, which: str = "1", device: str = "S1", about: str = "session"
) -> Message:
    """Return a request or a cancellation."""
    content: dict[str, Any] = {
        "action": action,
        "requesting_device_id": device,
        "request_id": which,
    }
    if action == "request":
        content["body"] = {"session_id": about}
    return kind, content


def verification(
    kind: str, which: str = "1", timestamp: str | None = None, **more: Any
) -> Message:
    """Return a request to verify or a cancellation."""
    if kind == VERIFICATION_REQUEST:
        more = {"from_device": "S1", **more}
    if timestamp is not None:
        more["timestamp"] = int(timestamp)
    return kind, {"transaction_id": which, **more}


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


# What is said, with what may follow a word after a dot.
WORDS: dict[str, Callable[..., Message]] = {
    "notice": _notice,
    "again": lambda: (WITHHELD, {**NOTICE, "reason": "again"}),
    "older-type": partial(_notice, kind="older"),
    "scoped": partial(_notice, session="session"),
    "session": _session,
    "olm": lambda key="key": (ENCRYPTED, {**OLM, "sender_key": key}),
    "text": lambda number="1": ("m.dummy", {"n": number}),
    "request": partial(request, KEY_REQUEST, "request"),
    "cancel": partial(request, KEY_REQUEST, "request_cancellation"),
    "secret": partial(request, SECRET_REQUEST, "request"),
    "cancel-secret": partial(request, SECRET_REQUEST, "request_cancellation"),
    "verify": partial(verification, VERIFICATION_REQUEST),
    "start": lambda: ("m.key.verification.start", {"transaction_id": "1"}),
    "cancel-verify": partial(verification, VERIFICATION_CANCEL),
}


def said(words: str) -> Message:
    """Return what is said with a word and what follows it."""
    name, *more = words.split(".")
    return WORDS[name](*more)


def parts_of(*words: str) -> Iterator[tuple[str, list[Place], dict[str, str]]]:
    """Return each word, whom it is to, and what else is said of it."""
    for part in " ".join(words).split(" + "):
        word, *others = part.split(" ")
        more = dict(zip(others[::2], others[1::2]))
        yield word, places_of(more.get("to", "R")), more


def places_of(text: str) -> list[Place]:
    places = []
    for each in text.split(","):
        *of, device = each.rsplit("/", 1)
        user_id = {"": RECIPIENT, "there": ABROAD}.get("".join(of), "".join(of))
        many = re.fullmatch(r"([A-Z]+)(\d+)-[A-Z]+(\d+)", device)
        if many is None:
            places.append((user_id, device))
        else:
            name, first, last = many.groups()
            numbers = range(int(first), int(last) + 1)
            places += [(user_id, f"{name}{number}") for number in numbers]
    return places


# At random.

# How random plays are run: a gate has to say the same each time.
AT_RANDOM = settings(
    max_examples=int(os.environ.get("EXAMPLES", "1000")),
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
)

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


# Moves of plays at random: what each of them leaves open, and the moves.

DEVICES = ["R", "R2"]
HERE, THERE = SENDERS = ["@s:here", "@t:there"]
OPEN: dict[str, st.SearchStrategy[Any]] = {
    "notice": notice_words,
    "other": notice_words,
    "word": notice_words | notice_words | keys.map("olm.{}".format) | words,
    "asks": st.sampled_from([("request", "cancel"), ("secret", "cancel-secret")]),
    "about": rarely,
    "sender": st.sampled_from(SENDERS),
    "device": st.sampled_from(DEVICES),
    "target": st.sampled_from([*DEVICES, *DEVICES, "*", "GONE"]),
    "abroad": st.sampled_from(["A1", "A2", "A1,there/A2"]).map("there/{}".format),
    "edu": st.sampled_from(["there/1", "there/2", "elsewhere/1", "elsewhere/2"]),
    "limit": st.sampled_from(["1", "2", "100", "all", "all", "1 lost", "all lost"]),
    "upset": st.sampled_from(["late", "late", "hangs", "fails", "lost"]),
    "which": st.sampled_from("00112345"),
    "seconds": st.sampled_from(["0", "0.1", "0.6", "1.5", "6"]),
    # Holds and requests run out.
    "long": st.sampled_from(["1440", "3960", "172800"]),
}
EACH = [
    # What a sequence that fails does not need becomes the first of them.
    *("free", "steps", "rest", "restart", "send-on"),
    *["begin {word} to {target} by {sender}"] * 3,
    *["begin {word} to {abroad}", "begin {word} to R,{abroad}"] * 2,
    # A server that sends an EDU again says the same.
    *["begin notice.{edu} by @t:there in {edu}"] * 2,
    # What is said to one need not be said to the other.
    *["begin {notice} + {other} to R2 by {sender}"] * 2,
    *("begin olm to {sender}/* by @r:here", "begin olm to @s:here/S1 by @a:there"),
    *["go-on {which}", "upset {upset} {which}", "wait {seconds}"] * 2,
    # Not while something waits, which tries patience.
    "rest; wait {long}",
    *["poll {device} {limit}"] * 2,
    *("change {device}", "change {abroad}", "log-out {sender}", "evict {device}"),
]
# What happens while a notice is repeated, or something is asked and taken back.
REPEATED = [
    *["begin {notice} to {device} by {sender}"] * 2,
    *("rest", "steps", "poll {device} 100", "poll {device} all; poll {device} all"),
    *(
        "begin {other} to {device} by {sender}",
        "begin olm.key-1 to {device} by {sender}",
    ),
]
TO_ALL = "begin {asks[0]}.1.S1.{about} to * by {sender}; steps"
ASKED = [
    *["begin {asks[0]}.1.S1.{about} to {device} by {sender}"] * 2,
    *["begin {asks[1]}.1 to {device} by {sender}"] * 2,
    *("go-on", "rest", "poll {device} 100", "poll {device} all lost"),
    *("poll {device} all", TO_ALL + "; poll {device} all; poll {device} all"),
]


@st.composite
def moves(draw: st.DrawFn) -> str:
    """Return a move, or several about the same."""
    among = draw(st.sampled_from([EACH, EACH, REPEATED, ASKED]))
    more = [] if among is EACH else draw(st.lists(st.sampled_from(among), min_size=2))
    told = "; ".join(
        [draw(st.sampled_from(among)) if among is EACH else among[0], *more]
    )
    names = sorted({*re.findall(r"{(\w+)", told)})
    return told.format(**{name: draw(OPEN[name]) for name in names})


finds = st.builds("fill {} by {}".format, words, OPEN["sender"])
