"""Fingerprints stand for what they are made of."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.memory.fingerprints import (
    Fingerprints,
    key_of,
    place_of,
    place_of_key,
    places_beside,
    requests_of,
)
from synapse_withheld.rules.no_olm import SCOPED, NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.requests import KeyRequests
from synapse_withheld.rules.withheld import SessionWithheld

PAIR = Pair("@s:hs", "device:S", "m.room_key.withheld")
NOTICE = Notice(NoOlm(), PAIR, "key")

texts = st.text(alphabet="a\0'\", \\\ud800", max_size=4)
pairs = st.builds(
    Pair, texts, texts, texts, st.none() | st.tuples(st.none() | texts, texts)
)


@given(pairs, pairs)
def test_two_pairs_have_two_fingerprints(one: Pair, other: Pair) -> None:
    """Whatever their identifiers contain; and one pair has one."""
    of = Fingerprints()
    found = [of.of(Notice(NoOlm(), each, "key")) for each in (one, other)]
    found_again = [of.of(Notice(NoOlm(), each, "key", SCOPED)) for each in (one, other)]

    assert found == found_again
    assert (one == other) == (found[0][:2] == found[1][:2])


@pytest.mark.parametrize(
    "pair",
    [
        attrs.evolve(PAIR, device="device:T"),
        attrs.evolve(PAIR, message_type="org.matrix.room_key.withheld"),
        attrs.evolve(PAIR, scope=(None, None)),
    ],
)
def test_pairs_of_one_sender_are_side_by_side(pair: Pair) -> None:
    """At places of their own, with checks of their own."""
    of = Fingerprints()
    first = of.of(NOTICE)
    other = of.of(attrs.evolve(NOTICE, pair=pair))

    beside = places_beside(place_of("@s:hs"))
    assert 1 << 32 == len(beside)
    assert first.place in beside
    assert other.place in beside
    assert beside == places_beside(first.place) == places_beside(other.place)
    assert first.place != other.place
    assert first.check != other.check
    assert first.key == other.key


def test_rules_have_pairs_of_their_own() -> None:
    """What one rule says of a pair means nothing to another."""
    of = Fingerprints()
    other = attrs.evolve(NOTICE, rule=SessionWithheld())

    assert of.of(NOTICE)[:2] != of.of(other)[:2]


def test_requests_are_apart_from_what_is_rearmed() -> None:
    """However many there are, an Olm message of their sender takes no longer."""
    found = Fingerprints().of(attrs.evolve(NOTICE, rule=KeyRequests()))

    assert found.place not in places_beside(place_of("@s:hs"))
    assert found.place in places_beside(requests_of("@s:hs"))
    assert requests_of("@s:hs") != requests_of("@t:hs")


def test_senders_are_apart() -> None:
    """Each has places of its own."""
    assert place_of("@t:hs") not in places_beside(place_of("@s:hs"))


def test_a_key_is_that_of_its_sender() -> None:
    """It says nothing of the pair, and the pair nothing of it."""
    of = Fingerprints()
    other = of.of(attrs.evolve(NOTICE, key="other"))

    assert of.of(NOTICE)[:2] == other[:2]
    assert key_of("@s:hs", "key") == of.of(NOTICE).key
    assert 3 == len({other.key, of.of(NOTICE).key, key_of("@t:hs", "key")})


def test_a_key_has_a_place_beside_its_sender() -> None:
    """It can be told from any place of the sender."""
    place = place_of_key(place_of("@s:hs"), key_of("@s:hs", "key"))

    assert place in places_beside(place_of("@s:hs"))
    assert place == place_of_key(place_of("@s:hs") | 7, key_of("@s:hs", "key"))
    assert place != place_of_key(place, key_of("@s:hs", "other"))


def test_nobody_knows_the_secret() -> None:
    """It is another one each time, so a fingerprint cannot be aimed for."""
    assert Fingerprints().of(NOTICE).check != Fingerprints().of(NOTICE).check


@given(st.text(), st.text())
def test_all_fit_into_words(sender: str, key: str) -> None:
    """Python's hashes may be negative; fingerprints are not."""
    found = Fingerprints().of(Notice(NoOlm(), Pair(sender, key, key), key))

    assert all(0 <= each < 1 << 64 for each in (*found, place_of_key(*found[::2])))
