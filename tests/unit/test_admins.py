"""Who is a server admin, as Synapse's own admin API asks."""

from __future__ import annotations

import types
from typing import Any

import pytest

from synapse_withheld import WithheldModule
from synapse_withheld.config import Config
from synapse_withheld.synapse_internals import SynapseInternals, UnknownSynapseError
from tests.unit.stores import Apart, api


class Auth:
    """Synapse's."""

    async def is_server_admin(self, requester: object) -> bool:
        return requester == "admin"


class AuthOfOldSynapse:
    """As long before the versions that were tested."""

    async def is_server_admin(self, user: object) -> bool:
        raise AssertionError(user)


def api_with(auth: Any) -> Any:
    """Return a module API whose homeserver has an `Auth`, and what was served."""
    found = api(Apart())
    if auth is not None:
        found._hs.get_auth = lambda: auth
    found.served = []
    found.register_web_resource = lambda path, _: found.served.append(path)
    found.should_run_background_tasks = lambda: False
    return found


def test_synapse_is_asked_as_its_admin_api_asks_it() -> None:
    """It is the homeserver's own method that answers."""
    auth = Auth()
    assert auth.is_server_admin == SynapseInternals(api_with(auth)).is_admin()


@pytest.mark.parametrize(
    ("auth", "why"),
    [
        (None, "get_auth"),
        (types.SimpleNamespace(), "no method is_server_admin"),
        (AuthOfOldSynapse(), "is_server_admin takes"),
    ],
)
def test_where_nobody_can_be_asked_no_pages_are_served(
    auth: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, in one line, and the module acts."""
    found = api_with(auth)
    with pytest.raises(UnknownSynapseError, match=why):
        SynapseInternals(found).is_admin()
    with caplog.at_level("INFO"):
        WithheldModule(Config(), found)
    errors = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [None] == [each.exc_info for each in errors]
    assert "serves no pages, but acts" in caplog.text
    assert why in caplog.text
    assert "acts on to-device messages" in caplog.text
    assert [] == found.served


def test_where_synapse_can_be_asked_they_are_served() -> None:
    """At their one path."""
    found = api_with(Auth())
    WithheldModule(Config(), found)
    assert ["/_synapse/client/withheld"] == found.served
