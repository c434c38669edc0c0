"""What is remembered, and how little of it."""

from __future__ import annotations

import attrs
import pytest

from synapse_withheld.memory.index import Index
from synapse_withheld.memory.storing import Limits
from synapse_withheld.rules.mailbox import MailboxKey, Remembered, Superseded
from synapse_withheld.rules.no_olm import NoOlm
from synapse_withheld.rules.notice import Notice, Pair

R1: MailboxKey = ("@r:hs", "R1")
R2: MailboxKey = ("@r:hs", "R2")


def notice(device: str = "S", *, sender: str = "@s:hs", key: str = "key") -> Notice:
    """Return a notice of a sender's device."""
    pair = Pair(sender, f"device:{device}", "m.room_key.withheld")
    return Notice(NoOlm(), pair, key)


def index(*, spoofs_possible: bool = False, **limits: int) -> Index:
    """Return an empty index with room for 100 of everything not named."""
    names = [each.name for each in attrs.fields(Limits)]
    each = {name: limits.get(name, 100) for name in names}
    return Index(Limits(**each), spoofs_possible=spoofs_possible)


def learn(of: Index, key: MailboxKey, *found: tuple[int, Notice]) -> list[Superseded]:
    """Read a mailbox."""
    return of.end_reading(key, of.begin_reading(key), found)


def store(of: Index, key: MailboxKey, what: Notice, stream_id: int) -> list[Superseded]:
    """Store a notice."""
    return of.settle(of.begin(key, what, 0), stream_id)


def queued(of: Index, key: MailboxKey, what: Notice) -> Remembered:
    """Return what is known of what has to be queued."""
    known = of.queued(key, what)
    assert known is not None
    return known


def test_a_stored_notice_is_remembered_and_watched() -> None:
    """In a mailbox that is known."""
    of = index()
    learn(of, R1)

    assert [] == store(of, R1, notice(), 5)
    assert (5, True, False) == (
        queued(of, R1, notice()).stream_id,
        queued(of, R1, notice()).watched_since_stored,
        queued(of, R1, notice()).rearmed,
    )
    assert (1, 1) == (of.pairs, len(of))


def test_a_newer_notice_supersedes_whatever_order_they_settle_in() -> None:
    """The row with the higher stream ID stays."""
    of = index()
    learn(of, R1)
    store(of, R1, notice(), 5)

    assert [Superseded(R1, 5, 7)] == store(of, R1, notice(key="new"), 7)
    assert [Superseded(R1, 6, 7)] == store(of, R1, notice(), 6)
    assert (7, True) == (
        queued(of, R1, notice(key="new")).stream_id,
        queued(of, R1, notice(key="new")).same_key,
    )
    assert not queued(of, R1, notice()).same_key


def test_nothing_is_remembered_of_an_unknown_mailbox() -> None:
    """Its first reading will find it."""
    of = index()

    assert [] == store(of, R1, notice(), 5)
    assert (0, 0) == (of.pairs, len(of))
    assert not of._links


def test_what_a_reading_finds_is_not_watched_and_its_older_copies_go() -> None:
    """The newest of each pair stays."""
    of = index()

    superseded = learn(of, R1, (9, notice()), (8, notice("T")), (7, notice()))

    assert [Superseded(R1, 7, 9)] == superseded
    assert not queued(of, R1, notice()).watched_since_stored


def test_what_is_stored_during_a_reading_is_kept() -> None:
    """A reading may not have seen it."""
    of = index()
    mailbox = of.begin_reading(R1)
    store(of, R1, notice(), 8)

    assert [Superseded(R1, 7, 8)] == of.end_reading(R1, mailbox, [(7, notice())])
    assert 8 == queued(of, R1, notice()).stream_id


def test_finding_6_a_device_that_does_not_exist_takes_no_room() -> None:
    """Invented devices push nothing out."""
    of = index(mailboxes=1)
    learn(of, R1, (1, notice()))

    of.end_reading(R2, of.begin_reading(R2), None)

    assert of.knows(R1)
    assert not of.knows(R2)


def test_finding_8_a_spoofed_row_is_not_superseded_by_another_key() -> None:
    """Where spoofed rows may be stored, what is found needs an equal key."""
    of = index(spoofs_possible=True)
    learn(of, R1, (9, notice()), (8, notice(key="other")), (7, notice()))

    assert [] == store(of, R1, notice(key="new"), 10)
    assert [Superseded(R1, 10, 11)] == store(of, R1, notice(key="newer"), 11)


def test_a_mailbox_forgotten_meanwhile_breaks_the_watch() -> None:
    """Olm messages may have passed unseen."""
    of = index()
    learn(of, R1)
    watch = of.begin(R1, notice(), 0)
    of.forget(R1)
    learn(of, R1)
    of.settle(watch, 5)

    assert not queued(of, R1, notice()).watched_since_stored


def test_an_olm_message_to_a_device_rearms_exactly_its_pair() -> None:
    """Same sender, key and device."""
    of = index()
    for key in (R1, R2):
        learn(of, key)
        store(of, key, notice(), 5)

    assert 0 == of.rearm_device(R1, "@s:hs", "another key")
    assert 0 == of.rearm_device(R1, "@t:hs", "key")
    assert 1 == of.rearm_device(R1, "@s:hs", "key")
    assert 0 == of.rearm_device(R1, "@s:hs", "key")
    assert queued(of, R1, notice()).rearmed
    assert not queued(of, R2, notice()).rearmed


def test_an_olm_message_of_a_user_rearms_the_key_everywhere() -> None:
    """In all mailboxes of that user, and only for that key."""
    of = index()
    for key in (R1, R2):
        learn(of, key)
        store(of, key, notice(), 5)
        store(of, key, notice("T", key="other"), 6)

    assert 2 == of.rearm_user("@r:hs", "@s:hs", ["key", "unknown"])
    assert queued(of, R1, notice()).rearmed
    assert queued(of, R2, notice()).rearmed
    assert not queued(of, R2, notice("T")).rearmed


def test_finding_2_what_passes_while_a_notice_is_stored_rearms_it() -> None:
    """Whichever of the two comes first in the stream."""
    of = index()
    learn(of, R1)
    direct, wide = of.begin(R1, notice(), 0), of.begin(R1, notice("T"), 0)
    of.rearm_device(R1, "@s:hs", "key")
    of.settle(direct, 5)
    assert queued(of, R1, notice()).rearmed
    of.rearm_user("@r:hs", "@s:hs", ["key"])
    of.settle(wide, 6)

    assert queued(of, R1, notice()).rearmed
    assert queued(of, R1, notice("T")).rearmed


def test_a_new_notice_is_not_rearmed_by_what_came_before() -> None:
    """Each watch begins anew."""
    of = index()
    learn(of, R1)
    store(of, R1, notice(), 5)
    of.rearm_user("@r:hs", "@s:hs", ["key"])
    store(of, R1, notice(), 6)

    assert not queued(of, R1, notice()).rearmed


def test_the_least_recently_used_mailbox_goes_first() -> None:
    """`max_mailboxes`."""
    of = index(mailboxes=2)
    for number in ("1", "2"):
        learn(of, ("@r:hs", number), (1, notice()))
    assert of.knows(("@r:hs", "1"))
    learn(of, ("@r:hs", "3"))

    assert [True, False, True] == [of.knows(("@r:hs", str(n))) for n in (1, 2, 3)]
    assert 1 == of.pairs


def test_the_total_of_pairs_is_bounded() -> None:
    """`max_pairs` evicts other mailboxes, never the one in use."""
    of = index(pairs=2)
    learn(of, R1, (1, notice("A")), (2, notice("B")))
    learn(of, R2, (1, notice("A")))

    assert not of.knows(R1)
    assert of.knows(R2)
    store(of, R2, notice("B"), 5)
    assert not of.has_room(R2, notice("C"))
    store(of, R2, notice("C"), 6)
    assert 2 == of.pairs


@pytest.mark.parametrize("limit", ["pairs_per_mailbox", "pairs_per_sender"])
def test_beyond_its_limit_nothing_more_is_remembered(limit: str) -> None:
    """What is remembered stays."""
    of = (
        index(pairs_per_mailbox=2)
        if limit == "pairs_per_mailbox"
        else index(pairs_per_sender=2)
    )
    learn(of, R1)
    for number, device in enumerate("ABC"):
        assert of.has_room(R1, notice(device)) == (device != "C")
        store(of, R1, notice(device), number)

    assert 2 == of.pairs
    assert of.queued(R1, notice("C")) is None
    assert of.has_room(R1, notice("A"))


def test_one_sender_crowds_out_nobody_else() -> None:
    """Finding 6: `max_pairs_per_sender` counts each sender alone."""
    of = index(pairs_per_sender=1)
    learn(of, R1)
    store(of, R1, notice("A"), 1)
    store(of, R1, notice("B"), 2)
    store(of, R1, notice("A", sender="@t:hs"), 3)

    assert 3 == queued(of, R1, notice("A", sender="@t:hs")).stream_id


def test_forgetting_leaves_nothing_behind() -> None:
    """Neither pairs nor links nor what is in flight."""
    of = index()
    learn(of, R1, (1, notice("A")))
    store(of, R1, notice("B", key="b"), 2)
    of.abandon(of.begin(R1, notice("C", key="c"), 0))
    of.drop(R1, notice("A"))
    in_flight = of.begin(R1, notice("D", key="d"), 0)
    of.begin_reading(R2)
    of.clear()
    of.settle(in_flight, 4)

    assert (0, 0) == (of.pairs, len(of))
    assert (0, 0) == (len(of._links), len(of._in_flight))
    assert not of._mailboxes._being_read


def test_what_is_in_flight_while_all_is_forgotten_was_not_watched() -> None:
    """It is still re-armed, counted and given up like any other."""
    of = index()
    learn(of, R1)
    store(of, R1, notice("T"), 3)
    of.rearm_user("@r:hs", "@s:hs", ["key"])
    given_up, stored = of.begin(R1, notice("S"), 0), of.begin(R1, notice("S"), 0)
    of.clear()
    learn(of, R1)
    assert 2 == of.rearm_user("@r:hs", "@s:hs", ["key"])
    of.abandon(given_up)
    of.settle(stored, 5)

    assert not queued(of, R1, notice("S")).watched_since_stored
    assert (1, 1) == (of.pairs, of.rearm_user("@r:hs", "@s:hs", ["key"]))


def test_forgetting_one_of_several_mailboxes_leaves_what_they_share() -> None:
    """Olm messages that pass afterwards re-arm the others."""
    of = index()
    for key in (R1, R2):
        learn(of, key)
        for stream_id, device in enumerate("ABC"):
            store(of, key, notice(device), stream_id)
    of.forget(R2)
    assert 3 == of.pairs
    assert not queued(of, R1, notice("B")).rearmed

    assert 3 == of.rearm_user("@r:hs", "@s:hs", ["key"])
    assert queued(of, R1, notice("B")).rearmed


def test_forgetting_a_mailbox_leaves_what_is_in_flight() -> None:
    """Its link is still held."""
    of = index()
    learn(of, R1)
    store(of, R1, notice("A"), 1)
    of.begin(R1, notice("B"), 0)
    of.forget(R1)

    assert 1 == of.rearm_user("@r:hs", "@s:hs", ["key"])


def test_forgetting_a_user_leaves_others() -> None:
    """All mailboxes of one user."""
    of = index()
    for key in (R1, R2, ("@q:hs", "Q")):
        learn(of, key)
    of.forget_user("@r:hs")

    assert [False, False, True] == [of.knows(key) for key in (R1, R2, ("@q:hs", "Q"))]
