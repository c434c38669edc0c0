"""The pairs of one mailbox, packed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.memory.fingerprints import PLACES_OF_SENDER, Fingerprint
from synapse_withheld.memory.mailbox import (
    ONLY_ONE_IN_ROW,
    REARMED_DIRECTLY,
    WATCHED_SINCE_STORED,
    Mailbox,
    record,
)

# The one that is re-armed, its neighbours, and the last there can be.
SENDERS = [0, 1, 2, (1 << 32) - 1]


def stored(mailbox: Mailbox, place: int, key: int, **more: int) -> None:
    """Remember a pair."""
    values = {"flags": 0, "variant": 0, "olm_messages": 0, **more}
    mailbox.insert(record(Fingerprint(place, 1, key), 7, **values))


def test_only_the_pairs_of_a_sender_are_rearmed() -> None:
    """Those with the key, though others have the same."""
    mailbox = Mailbox()
    for sender in SENDERS:
        for place, key in ((0, 5), (1, 6), (PLACES_OF_SENDER - 1, 5)):
            stored(mailbox, sender * PLACES_OF_SENDER + place, key)

    assert 2 == mailbox.rearm(PLACES_OF_SENDER, 5)
    assert 0 == mailbox.rearm(PLACES_OF_SENDER, 5)
    rearmed = [mailbox.record(at).has(REARMED_DIRECTLY) for at in range(12)]
    assert [False] * 3 + [True, False, True] + [False] * 6 == rearmed
    assert [2, 0] == [mailbox.rearm(SENDERS[-1] * PLACES_OF_SENDER, 5) for _ in "12"]


@given(
    st.integers(0, 7), st.integers(0, 15), st.integers(0, 2**25 - 1), st.integers(0, 9)
)
def test_rearming_changes_nothing_else(
    flags: int, variant: int, olm_messages: int, seconds: int
) -> None:
    """Whatever else is packed beside it."""
    mailbox = Mailbox()
    values = {"flags": flags, "variant": variant, "olm_messages": olm_messages}
    stored(mailbox, 0, 5, **values, device_list_id=3, undelivered_s=seconds)
    before = mailbox.record(0)
    mailbox.rearm(0, 5)

    assert before._replace(state=before.state | REARMED_DIRECTLY) == mailbox.record(0)
    assert [bool(flags & each) for each in (WATCHED_SINCE_STORED, ONLY_ONE_IN_ROW)] == [
        mailbox.record(0).has(each) for each in (WATCHED_SINCE_STORED, ONLY_ONE_IN_ROW)
    ]


def test_an_empty_mailbox_has_nothing_to_rearm() -> None:
    """Nor one in which the sender has nothing."""
    assert 0 == Mailbox().rearm(0, 5)
