"""Matrix IDs are taken apart."""

from __future__ import annotations

import pytest

from synapse_withheld.rules.identifiers import is_from, server_of


@pytest.mark.parametrize(
    ("user_id", "server"),
    [
        ("@a:here", "here"),
        ("@a:here:8448", "here:8448"),
        ("@a:[::1]:8448", "[::1]:8448"),
        ("@a", ""),
        ("", ""),
    ],
)
def test_the_server_is_what_follows_the_first_colon(user_id: str, server: str) -> None:
    """Ports and addresses have colons of their own, names of users have none."""
    assert server == server_of(user_id)


def test_a_user_is_from_the_server_that_it_names() -> None:
    """Whatever comes from a local client is ours."""
    assert is_from("@a:there", "there")
    assert not is_from("@a:there", "elsewhere")
    assert is_from("@a:there", None)
