"""Server admins where matrix-authentication-service says who is one."""

from __future__ import annotations

from typing import AsyncIterator

import pytest
from twisted.internet.threads import deferToThread

from tests.harness.client import Client
from tests.harness.commands import command_line
from tests.harness.reactor import async_yield_fixture, in_reactor
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Introspection
from tests.harness.servers.stage import Stage

# With delegated authentication it does not list guests, and says so.
ADMIN_API = "/_synapse/admin/v2/users?guests=false"
STATUS, TOP = (f"/_synapse/client/withheld/v1/{name}" for name in ("status", "top"))

# An access token for each: whether it has the scope, and whether the table `users`,
# from before the migration, says that its user is an admin.
TOKENS = {
    "scope_and_table": (True, True),
    "scope_alone": (True, False),
    "table_alone": (False, True),
    "neither": (False, False),
}


@async_yield_fixture(scope="module")
async def delegating(stage: Stage) -> AsyncIterator[Homeserver]:
    server = Introspection()
    server.start()
    config = server.config()
    if "experimental_features" in config:
        pytest.importorskip("authlib")
    homeserver = await stage.start({}, config)
    for token, (has_scope, in_table) in TOKENS.items():
        homeserver.query(
            "INSERT INTO users (name, creation_ts, admin) VALUES (?, 0, ?)",
            (f"@{token}:{homeserver.server_name}", int(in_table)),
        )
        server.tokens[token] = (token, has_scope)
    try:
        yield homeserver
    finally:
        await server.stop()


@pytest.mark.parametrize("token", [*TOKENS, "invented"])
@in_reactor
async def test_synapse_admin_api_and_the_pages_agree(
    delegating: Homeserver, token: str
) -> None:
    """Whatever the table says: what counts is the token's scope; so for `top`."""
    has_scope, _ = TOKENS.get(token, (None, None))
    expected = {True: 200, False: 403, None: 401}[has_scope]
    client = Client(delegating.base_url, "", "", token)
    admin_status, admin_answer = await client.request("GET", ADMIN_API)
    for path in (STATUS, TOP):
        status, answer = await client.request("GET", path)
        assert (expected, expected) == (admin_status, status)
        assert expected == 200 or admin_answer == answer

    directory = delegating.log_path.parent
    (directory / "token.txt").write_text(token)
    arguments = ("top", "--token-file", "token.txt", delegating.base_url)
    # In a thread: what the homeserver asks is answered in this one.
    result = await deferToThread(command_line, *arguments, directory=directory)
    assert (0 if expected == 200 else 2) == result.returncode
