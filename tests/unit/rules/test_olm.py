"""Recognising Olm messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.rules.content import read_olm


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (
            {"algorithm": "m.olm.v1.x", "sender_key": "K", "ciphertext": {"A": 1}},
            ("K", {"A": 1}.keys()),
        ),
        ({"algorithm": "m.olm.v2"}, (None, ())),
        ({"algorithm": "m.olm.v1", "sender_key": 1, "ciphertext": []}, (None, ())),
        ({"algorithm": "m.megolm.v1.aes-sha2", "sender_key": "K"}, None),
        ({"algorithm": 1}, None),
        ({}, None),
        ([], None),
    ],
)
def test_an_olm_message_tells_its_ends(contents: object, expected: object) -> None:
    """Whatever a sender made of it."""
    assert expected == read_olm(contents)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
contents_of_all_kinds = st.dictionaries(
    st.sampled_from(["algorithm", "sender_key", "ciphertext"]),
    anything | st.just("m.olm.v1"),
)


@given(anything | contents_of_all_kinds)
def test_no_content_raises(contents: object) -> None:
    """Recognition takes whatever JSON can hold."""
    read_olm(contents)
