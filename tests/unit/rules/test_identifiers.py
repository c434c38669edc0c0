"""Which names a database can be asked about, and which there may be."""

from __future__ import annotations

import pytest

from synapse_withheld.rules.identifiers import MAX_NAME_LENGTH, is_storable, may_exist


@pytest.mark.parametrize(
    ("name", "storable", "possible"),
    [
        ("D\U0001f600", True, True),
        ("a\0", False, False),
        ("\udfff", False, False),
        ("D" * MAX_NAME_LENGTH, True, True),
        ("D" * (MAX_NAME_LENGTH + 1), True, False),
    ],
)
def test_a_name_is_asked_about_where_a_database_takes_it_and_somebody_may_have_it(
    name: str, *, storable: bool, possible: bool
) -> None:
    assert (storable, possible) == (is_storable(name), may_exist(name))
