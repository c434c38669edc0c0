"""What server admins are told, and nobody else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, AsyncIterator

import attrs
import pytest
import treq
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from twisted.web.http_headers import Headers

from synapse_withheld import __version__
from tests.harness.homeservers.stage import Stage, Two, two_on
from tests.harness.metrics.samples import total
from tests.harness.polling import until
from tests.harness.processes.commands import command_line
from tests.harness.reactor import async_yield_fixture, in_reactor

if TYPE_CHECKING:
    from tests.harness.clients.matrix import Client
    from tests.harness.homeservers.homeserver import Homeserver

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
        """Ask for something below `PATH`, with a device's access token or none."""
        response = await treq.get(
            f"{self.homeserver.base_url}{PATH}{path}",
            params=parameters,
            headers=authorized(client) if client else None,
        )
        body = (await treq.content(response)).decode()
        return response.code, json.loads(body) if body.startswith("{") else body


@async_yield_fixture(scope="module")
async def site(stage: Stage) -> AsyncIterator[Site]:
    """Run a Synapse with a sweep, after some traffic."""
    homeserver = await stage.start({"sweep": True})
    admin = await homeserver.register("admin", admin=True)
    site = Site(homeserver, admin, await two_on(homeserver))
    for _ in range(20):
        await site.two.send(site.two.notice())
    await site.two.send(site.two.notice(code="m.unverified"))
    yield site


def authorized(client: Client) -> Headers:
    """Return the header with a device's access token."""
    return Headers({"Authorization": [f"Bearer {client.access_token}"]})


def check(answer: Any, path: str, status: int) -> None:
    """Hold an answer against what the OpenAPI file says of it."""
    described = OPENAPI["paths"][f"{PATH}{path}"]["get"]["responses"][str(status)]
    if "$ref" in described:
        described = _resolve(described["$ref"])
    schema = described["content"]["application/json"]["schema"]
    whole = {**schema, "components": OPENAPI["components"]}
    Draft202012Validator(whole).validate(answer)


def _resolve(reference: str) -> Any:
    found = OPENAPI
    for name in reference.split("/")[1:]:
        found = found[name]
    return found


def test_the_openapi_file_is_one() -> None:
    """By the validator of the format."""
    validate(OPENAPI)


@in_reactor
async def test_an_admin_is_told_the_status(site: Site) -> None:
    """The same numbers as the metrics have."""
    status, answer = await until(
        lambda: site.get("v1/status", site.admin),
        lambda found: bool(found[1]["sweep"]["done"]),
    )
    check(answer, "v1/status", status)
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
    """By user and by device, as many as are asked for."""
    sender, recipient = site.two.sender, site.two.recipient
    status, answer = await site.get("v1/top", site.admin, limit="1")
    check(answer, "v1/top", status)
    counted = {"rule": "no_olm", "notices": 20, "error": 0}
    assert [{"user_id": sender.user_id, **counted}] == answer["senders"]
    (busiest,) = answer["recipients"]
    assert (recipient.user_id, recipient.device_id) == (
        busiest["user_id"],
        busiest["device_id"],
    )


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1e1", "", "9" * 5000, "٣"])
@in_reactor
async def test_a_limit_that_is_none_is_refused(site: Site, limit: str) -> None:
    """With the name of the parameter and what would be right."""
    status, answer = await site.get("v1/top", site.admin, limit=limit)
    check(answer, "v1/top", 400)
    assert (400, "M_INVALID_PARAM") == (status, answer["errcode"])
    assert "'limit' must be a whole number from 1 to 100" == answer["error"]


@pytest.mark.parametrize("path", ["v1/status", "v1/top"])
@in_reactor
async def test_others_are_told_what_synapse_tells_them(site: Site, path: str) -> None:
    """As of its own admin API."""
    status, answer = await site.get(path, None)
    check(answer, path, 401)
    assert (401, "M_MISSING_TOKEN") == (status, answer["errcode"])

    stranger = attrs.evolve(site.admin, access_token=INVENTED)
    status, answer = await site.get(path, stranger)
    check(answer, path, 401)
    assert (401, "M_UNKNOWN_TOKEN") == (status, answer["errcode"])

    status, answer = await site.get(path, site.two.sender)
    check(answer, path, 403)
    assert (403, "M_FORBIDDEN") == (status, answer["errcode"])


@in_reactor
async def test_only_reading_is_possible(site: Site) -> None:
    """Whoever asks: there is nothing to change."""
    for path in ("", "v1/status", "v1/top"):
        for method in ("POST", "PUT", "DELETE"):
            response = await treq.request(
                method,
                f"{site.homeserver.base_url}{PATH}{path}",
                headers=authorized(site.admin),
            )
            await treq.content(response)
            # Not allowed, says Synapse; Twisted has not implemented some.
            assert response.code in {405, 501}


@in_reactor
async def test_what_is_not_there_is_not_found(site: Site) -> None:
    """Below the pages too, and in JSON, as all that Synapse says to clients."""
    for path in (
        *("v1", "v1/", "v1/more", "v2", "v2/status", "v1/status/", "v1/status/more"),
        *("v1/top/more/of/it", "page.html", "favicon.ico", "%00", "%ff/"),
    ):
        for client in (site.admin, None):
            status, answer = await site.get(path, client)
            assert 404 == status
            assert {
                "errcode": "M_UNRECOGNIZED",
                "error": "Unrecognized request",
            } == answer


@in_reactor
async def test_the_page_is_the_same_for_all_and_runs_only_itself(site: Site) -> None:
    """It holds no data; its own script and style are allowed by their hashes."""
    response = await treq.get(f"{site.homeserver.base_url}{PATH}")
    html = (await treq.content(response)).decode()
    policy = response.headers.getRawHeaders("Content-Security-Policy")
    assert 200 == response.code
    assert ["text/html; charset=utf-8"] == response.headers.getRawHeaders(
        "Content-Type"
    )
    hashes = []
    for element in ("script", "style"):
        (text,) = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes.append(f"{element}-src 'sha256-{digest}'")
    assert policy is not None
    assert (
        f"default-src 'none'; {'; '.join(hashes)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ) == policy[0]
    for name in ("alice", site.two.sender.user_id, site.homeserver.server_name):
        assert name not in html


@in_reactor
async def test_without_its_slash_the_page_is_found(site: Site) -> None:
    """Also behind a reverse proxy that adds a path."""
    response = await treq.get(
        f"{site.homeserver.base_url}{PATH.rstrip('/')}", allow_redirects=False
    )
    await treq.content(response)
    assert (302, ["withheld/"]) == (
        response.code,
        response.headers.getRawHeaders("Location"),
    )


@in_reactor
async def test_top_prints_the_answer(site: Site) -> None:
    """The token comes from the environment or a file, never from the command."""
    directory = site.homeserver.log_path.parent
    file = directory / "token.txt"
    file.write_text(site.admin.access_token)
    arguments = ("top", "--json", "--token-file", file.name, site.homeserver.base_url)
    result = command_line(*arguments, directory=directory)
    _, answer = await site.get("v1/top", site.admin)
    shown = json.loads(result.stdout)
    assert (answer["senders"], 0) == (shown["senders"], result.returncode)


@in_reactor
async def test_top_says_why_it_gets_no_answer(site: Site) -> None:
    """And what to do; the token is in none of it."""
    directory = site.homeserver.log_path.parent
    url = site.homeserver.base_url
    file = directory / "other.txt"
    for token, said in (
        (site.two.sender.access_token, "403: the access token is not one of a server"),
        (INVENTED, "401: the access token is not valid"),
        ("", "no access token: give --token-file or set SYNAPSE_WITHHELD_TOKEN"),
    ):
        file.write_text(token)
        result = command_line(
            "top", "--token-file", str(file), url, directory=directory
        )
        assert (2, "") == (result.returncode, result.stdout)
        assert said in result.stderr
        assert not token or token not in result.stderr
    nobody = "http://127.0.0.1:1"
    file.write_text(INVENTED)
    result = command_line("top", "--token-file", str(file), nobody, directory=directory)
    assert "it does not answer" in result.stderr
    result = command_line("top", "--token-file", "gone", url, directory=directory)
    assert "the access token cannot be read" in result.stderr


@in_reactor
async def test_without_pages_there_is_nothing(own_stage: Stage) -> None:
    """As on a Synapse that never had the module."""
    homeserver = await own_stage.start({"pages": False})
    admin = await homeserver.register("admin", admin=True)
    site = Site(homeserver, admin, await two_on(homeserver))
    for path in ("", "v1/status", "v1/top"):
        assert 404 == (await site.get(path, admin))[0]
    directory = homeserver.log_path.parent
    (directory / "token.txt").write_text(admin.access_token)
    arguments = ("top", "--token-file", "token.txt", homeserver.base_url)
    result = command_line(*arguments, directory=directory)
    assert "it answers 404: this process does not serve it" in result.stderr


@in_reactor
async def test_in_observe_mode_the_state_says_so(own_stage: Stage) -> None:
    """It decides and changes nothing."""
    homeserver = await own_stage.start({"mode": "observe"})
    admin = await homeserver.register("admin", admin=True)
    site = Site(homeserver, admin, await two_on(homeserver))
    status, answer = await site.get("v1/status", admin)
    check(answer, "v1/status", status)
    assert ("observing", None) == (answer["state"], answer["sweep"])
