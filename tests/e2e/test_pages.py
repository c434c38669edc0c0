"""What server admins are told, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, AsyncIterator

import attrs
import pytest
import treq
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from twisted.internet.threads import deferToThread

from synapse_withheld import __version__
from tests.harness.client import Client
from tests.harness.commands import command_line
from tests.harness.reactor import async_fixture, async_yield_fixture, in_reactor
from tests.harness.samples import total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Introspection
from tests.harness.servers.stage import Stage, Two, two_on
from tests.harness.waiting import until

PATH = "/_synapse/client/withheld/"
INVENTED = "syt_invented"  # an access token that nobody has
OPENAPI = yaml.safe_load((Path(__file__).parents[2] / "docs/openapi.yaml").read_text())


@attrs.frozen
class Site:
    """A homeserver with an admin and two others."""

    homeserver: Homeserver
    admin: Client
    two: Two

    async def get(
        self, path: str, client: Client | None, **parameters: str
    ) -> tuple[int, Any]:
        """Ask for JSON, and hold the answer against what the OpenAPI file says."""
        client = client or Client(self.homeserver.base_url, "", "", "")
        status, answer = await client.request("GET", PATH + path, params=parameters)
        if status != 404:
            described = OPENAPI["paths"][PATH + path]["get"]["responses"][str(status)]
            if "$ref" in described:
                name = described["$ref"].rpartition("/")[2]
                described = OPENAPI["components"]["responses"][name]
            schema = described["content"]["application/json"]["schema"]
            whole = {**schema, "components": OPENAPI["components"]}
            Draft202012Validator(whole).validate(answer)
        return status, answer


def top(homeserver: Homeserver, token: str, *more: str) -> Any:
    directory = homeserver.log_path.parent
    (directory / "token.txt").write_text(token)
    arguments = (*more, "--token-file", "token.txt", homeserver.base_url)
    return command_line("top", *arguments, directory=directory)


@async_fixture(scope="module")
async def site(stage: Stage) -> Site:
    homeserver = await stage.start({"sweep": True})
    admin = await homeserver.register("admin", admin=True)
    site = Site(homeserver, admin, await two_on(homeserver))
    for _ in range(20):
        await site.two.send(site.two.notice())
    await site.two.send(site.two.notice(code="m.unverified"))
    return site


def test_the_openapi_file_is_one() -> None:
    validate(OPENAPI)


@in_reactor
async def test_an_admin_is_told_the_status(site: Site) -> None:
    _, answer = await until(
        lambda: site.get("v1/status", site.admin),
        lambda found: bool(found[1]["sweep"]["done"]),
    )
    metrics = await site.homeserver.metrics()
    counts = {
        "version": __version__,
        "state": "acting",
        "process": "master",
        "notices": 20,
        "delivered": 1,
        "superseded": 0,
        "collapsed": 19,
        "collapsed_share": 1.0,
        "collapsed_bytes": total(metrics, "synapse_withheld_collapsed_bytes_total"),
    }
    assert counts == {key: answer[key] for key in counts}
    assert [1, 19] == [sum(answer["last_hour"][key]) for key in ("deliver", "collapse")]
    begun = answer["last_hour"]["from_ts"] + 59 * 60_000
    assert begun <= answer["now_ts"] <= begun + 60_000
    assert 1 == answer["tracked"]["pairs"]
    assert {0} == {each["count"] for each in answer["failures"]}
    assert 1 == answer["sweep"]["position"]


@in_reactor
async def test_an_admin_is_told_who_sends_and_receives_most(site: Site) -> None:
    """By user and by device; `top` prints the same."""
    sender, recipient = site.two.sender, site.two.recipient
    _, answer = await site.get("v1/top", site.admin, limit="1")
    counted = {"rule": "no_olm", "notices": 20, "error": 0}
    assert [{"user_id": sender.user_id, **counted}] == answer["senders"]
    (busiest,) = answer["recipients"]
    assert recipient.user_id == busiest["user_id"]
    assert recipient.device_id == busiest["device_id"]
    result = top(site.homeserver, site.admin.access_token, "--json")
    assert answer["senders"] == json.loads(result.stdout)["senders"]
    assert 0 == result.returncode


@in_reactor
async def test_a_limit_that_is_none_is_refused(site: Site) -> None:
    for limit in ("0", "101", "1e1", "", "9" * 5000, "٣"):
        status, answer = await site.get("v1/top", site.admin, limit=limit)
        assert (400, "M_INVALID_PARAM") == (status, answer["errcode"])
        assert "'limit' must be a whole number from 1 to 100" == answer["error"]


@pytest.mark.parametrize("path", ["v1/status", "v1/top"])
@in_reactor
async def test_others_are_told_what_synapse_tells_them(site: Site, path: str) -> None:
    stranger = attrs.evolve(site.admin, access_token=INVENTED)
    for client, expected in (
        (None, (401, "M_MISSING_TOKEN")),
        (stranger, (401, "M_UNKNOWN_TOKEN")),
        (site.two.sender, (403, "M_FORBIDDEN")),
    ):
        status, answer = await site.get(path, client)
        assert expected == (status, answer["errcode"])


@in_reactor
async def test_top_says_why_it_gets_no_answer(site: Site, switched: Homeserver) -> None:
    """And what to do; the token is in none of it."""
    for homeserver, token, said in (
        (site.homeserver, site.two.sender.access_token, "403: the access token is not"),
        (site.homeserver, INVENTED, "401: the access token is not valid"),
        (switched, INVENTED, "it answers 404: this process does not serve it"),
    ):
        result = top(homeserver, token)
        assert (2, "") == (result.returncode, result.stdout)
        assert said in result.stderr
        assert token not in result.stderr


@in_reactor
async def test_only_reading_is_possible(site: Site) -> None:
    for path in ("", "v1/status", "v1/top"):
        for method in ("POST", "PUT", "DELETE"):
            status, _ = await site.admin.request(method, PATH + path)
            # Not allowed, says Synapse; Twisted has not implemented some.
            assert status in {405, 501}


@in_reactor
async def test_what_is_not_there_is_not_found(site: Site, switched: Homeserver) -> None:
    """In JSON, as all that Synapse says; with `pages: false` that is everything."""
    told = (404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
    for path in ("v1", "v1/status/more", "page.html", "%00", "%ff/"):
        for client in (site.admin, None):
            assert told == await site.get(path, client)
    client = Client(switched.base_url, "", "", "")
    for path in ("", "v1/status", "v1/top"):
        assert 404 == (await client.request("GET", PATH + path))[0]


@in_reactor
async def test_the_page_is_the_same_for_all_and_runs_only_itself(site: Site) -> None:
    """It holds no data; its own script and style are allowed by their hashes."""
    response = await treq.get(f"{site.homeserver.base_url}{PATH}")
    html = (await treq.content(response)).decode()
    hashes = []
    for element in ("script", "style"):
        (text,) = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes.append(f"{element}-src 'sha256-{digest}'")
    policy = (
        f"default-src 'none'; {'; '.join(hashes)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert 200 == response.code
    for name, value in (
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", policy),
    ):
        assert [value] == response.headers.getRawHeaders(name)
    for name in (site.two.sender.user_id, site.homeserver.server_name):
        assert name not in html
    # Without its slash it is found, also behind a reverse proxy that adds a path.
    url = f"{site.homeserver.base_url}{PATH.rstrip('/')}"
    response = await treq.get(url, allow_redirects=False)
    assert 302 == response.code
    assert ["withheld/"] == response.headers.getRawHeaders("Location")


# With delegated authentication Synapse does not list guests, and says so.
ADMIN_API = "/_synapse/admin/v2/users?guests=false"
# An access token for each: whether it has the scope, and whether the table `users`,
# from before the migration, says that its user is an admin; and what it is answered.
TOKENS = {
    "scope_and_table": (True, True, 200),
    "scope_alone": (True, False, 200),
    "table_alone": (False, True, 403),
    "neither": (False, False, 403),
}


@async_yield_fixture(scope="module")
async def delegating(stage: Stage) -> AsyncIterator[Homeserver]:
    """Run a Synapse that asks a matrix-authentication-service about tokens."""
    server = Introspection()
    server.start()
    config = server.config()
    if "experimental_features" in config:
        pytest.importorskip("authlib")
    homeserver = await stage.start({}, config)
    for token, (has_scope, in_table, _) in TOKENS.items():
        homeserver.query(
            "INSERT INTO users (name, creation_ts, admin) VALUES (?, 0, ?)",
            (f"@{token}:{homeserver.server_name}", int(in_table)),
        )
        server.tokens[token] = (token, has_scope)
    try:
        yield homeserver
    finally:
        await server.stop()


@in_reactor
async def test_where_authentication_is_delegated_the_scope_of_the_token_counts(
    delegating: Homeserver,
) -> None:
    """Whatever the table says, as for Synapse's admin API; so for `top`."""
    answered = {token: expected for token, (*_, expected) in TOKENS.items()}
    for token, expected in {**answered, INVENTED: 401}.items():
        client = Client(delegating.base_url, "", "", token)
        admin = await client.request("GET", ADMIN_API)
        for path in ("v1/status", "v1/top"):
            status, answer = await client.request("GET", PATH + path)
            assert (token, expected, expected) == (token, admin[0], status)
            assert expected == 200 or answer == admin[1]
        # In a thread: what the homeserver asks is answered in this one.
        result = await deferToThread(top, delegating, token)
        assert (0 if expected == 200 else 2) == result.returncode
