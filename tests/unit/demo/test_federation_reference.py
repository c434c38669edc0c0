"""The model of what the demonstration with federating servers must leave."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.demo.federation.reference import (
    PLACEMENTS,
    RESTART,
    History,
    left,
    mailbox,
    outbox,
)
from tests.demo.federation.traffic import FRIEND, OTHER, RECIPIENT, REPEATS, Request
from tests.demo.traffic import AWAY, TABLET
from tests.harness.clients.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)

NONE, SENDER, RECEIVER, _ = PLACEMENTS


def notice(*devices: str, key: str = "key", **more: Any) -> Request:
    """Return a notice of one sender to some devices, or to the one that is away."""
    content = make_notice(key, "FIRST", **more)
    return Request(REPEATS, WITHHELD, dict.fromkeys(devices or (AWAY,), content))


def other(number: int) -> Request:
    """Return a message that is no notice."""
    return Request(FRIEND, OTHER, {AWAY: {"number": number}})


def olm(sender: str, to: str, key: str, ours: str, device: str = AWAY) -> Request:
    """Return an Olm message with one key to another."""
    content = make_olm_lookalike(key, ours)
    return Request(sender, ENCRYPTED, {device: content}, to=to)


def test_duplicates_collapse_onto_the_first() -> None:
    """What a copy says besides does not matter."""
    first = notice(reason="first")
    assert left([first, other(1), notice(reason="again")]) == (first, other(1))


def test_new_key_supersedes() -> None:
    """The newest stays, in its own place."""
    newest = notice(key="new")
    assert left([notice(), other(1), newest]) == (other(1), newest)


def test_notice_about_everything_supersedes_one_about_a_session() -> None:
    """The other way round it collapses."""
    scoped = notice(session_id="session")
    assert left([scoped, notice()]) == (notice(),)
    assert left([notice(), scoped]) == (notice(),)


@pytest.mark.parametrize(
    ("message", "rearms"),
    [
        (olm(REPEATS, RECIPIENT, "key", "ours"), True),
        (olm(REPEATS, RECIPIENT, "other", "ours"), False),
        (olm(REPEATS, RECIPIENT, "key", "ours", TABLET), False),
        (olm(FRIEND, RECIPIENT, "key", "ours"), False),
        (olm(RECIPIENT, REPEATS, "ours", "key", "FIRST"), True),
        (olm(RECIPIENT, REPEATS, "ours", "other", "FIRST"), False),
        (olm(RECIPIENT, FRIEND, "ours", "key", "FIRST"), False),
    ],
)
def test_olm_message_between_both_ends_rearms(message: Request, rearms: bool) -> None:
    """The next notice says something new; a reply is in nobody's mailbox here."""
    newest = notice(reason="newest")
    passed = (message,) if message.to == RECIPIENT else ()
    queued = (*passed, newest) if rearms else (notice(), *passed)
    assert left([notice(), message, newest]) == queued


def test_restart_forgets_what_was_watched() -> None:
    """The next notice supersedes what is queued, the one after that collapses."""
    newest = notice(reason="newest")
    assert left([notice(), RESTART, newest, notice()]) == (newest,)


def test_edu_with_several_messages_is_never_changed() -> None:
    """Of its superseded notices all stay; what is repeated does not join them."""
    both, new = notice(AWAY, TABLET), notice(AWAY, TABLET, key="new")
    assert left([both, notice(AWAY), new]) == (both, new)
    assert left([notice(AWAY), both]) == (notice(AWAY), notice(TABLET))


def test_pairs_and_types_do_not_mix() -> None:
    """Another sender, device or type is another pair."""
    pairs = (
        notice(),
        notice(TABLET),
        attrs.evolve(notice(), sender=FRIEND),
        attrs.evolve(notice(), message_type=f"org.matrix.{WITHHELD[2:]}"),
    )
    assert left([*pairs, *pairs]) == pairs


def test_without_the_module_everything_waits_and_is_left() -> None:
    """In the order in which it was sent, with a row for each message."""
    history: History = [notice(AWAY, TABLET), RESTART, notice(), other(1)]
    assert outbox(history, NONE) == (notice(AWAY, TABLET), notice(), other(1))
    assert outbox(history, NONE) == outbox(history, RECEIVER)
    rows = (notice(AWAY), notice(TABLET), notice(), other(1))
    assert mailbox(history, SENDER) == mailbox(history, NONE) == rows


def test_module_on_the_receiver_leaves_one_row_of_a_pair() -> None:
    """An EDU with several messages becomes a row for each."""
    history = [notice(AWAY, TABLET), notice(AWAY, TABLET, key=make_key("new"))]
    assert mailbox(history, RECEIVER) == tuple(
        notice(device, key=make_key("new")) for device in (AWAY, TABLET)
    )
