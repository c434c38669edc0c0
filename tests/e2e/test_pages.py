"""What server admins are told, and nobody else."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
import treq
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pytest_twisted import async_fixture
from selenium.webdriver.common.keys import Keys

from synapse_withheld import __version__
from tests.harness.browser import DESKTOP, Chromium, show, wait
from tests.harness.client import Client
from tests.harness.commands import in_shell
from tests.harness.samples import total
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.listening import Listener, answer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.servers.stage import Stage, Two, send, two_on
from tests.harness.waiting import until

PATH = "/_synapse/client/withheld/"
INVENTED = "syt_invented"  # an access token that nobody has
OPENAPI = yaml.safe_load((Path(__file__).parents[2] / "docs/openapi.yaml").read_text())
# A device's name that would be run, if it were ever taken for HTML.
HOSTILE = '<img src=x onerror="document.title=1">'


class Site(NamedTuple):
    """A homeserver with an admin, and who sent most notices to whom."""

    homeserver: Homeserver
    admin: Client
    two: Two

    async def get(self, path: str, token: str, **parameters: str) -> tuple[int, Any]:
        """Ask for JSON, and hold the answer against what the OpenAPI file says."""
        client = Client(self.homeserver.base_url, "", "", token)
        status, answer = await client.request("GET", PATH + path, params=parameters)
        name = path[3:].capitalize() if status == 200 else "Error"
        schema = {"$ref": f"#/components/schemas/{name}"}
        described = {**schema, "components": OPENAPI["components"]}
        Draft202012Validator(described).validate(answer)
        return status, answer


def top(homeserver: Homeserver, token: str) -> Any:
    directory = homeserver.log_path.parent
    (directory / "token.txt").write_text(token)
    command = "synapse-withheld top --json --token-file token.txt"
    return in_shell(f"{command} {homeserver.base_url}", directory)


@async_fixture(scope="module")
async def site(stage: Stage) -> Site:
    homeserver = await stage.start({"sweep": True})
    two = await two_on(homeserver)
    for _ in range(20):
        await two.send(two.notice())
    await two.send(two.notice(code="m.unverified"))
    hostile = await homeserver.register("hostile", device_id=HOSTILE)
    await send(two.sender, hostile, two.notice())
    return Site(homeserver, await homeserver.register("admin", admin=True), two)


async def test_an_admin_is_told_the_status_and_who_sends_most(site: Site) -> None:
    """In the form that the OpenAPI file describes, which is one."""
    validate(OPENAPI)
    token = site.admin.access_token
    _, answer = await until(
        lambda: site.get("v1/status", token),
        lambda found: bool(found[1]["sweep"]["done"]),
    )
    metrics = await site.homeserver.metrics()
    expected = {
        "version": __version__,
        "state": "acting",
        "process": "master",
        "notices": 21,
        "delivered": 2,
        "superseded": 0,
        "collapsed": 19,
        "collapsed_share": 1.0,
        "collapsed_bytes": total(metrics, "synapse_withheld_collapsed_bytes_total"),
    }
    assert expected == {key: answer[key] for key in expected}
    begun = answer["last_hour"]["from_ts"] + 59 * 60_000
    assert begun <= answer["now_ts"] <= begun + 60_000
    assert (2, 1) == (answer["tracked"]["pairs"], answer["sweep"]["position"])
    assert {0} == {each["count"] for each in answer["failures"]}

    # By user and by device; `top` prints the same.
    sender, recipient = site.two.sender, site.two.recipient
    _, answer = await site.get("v1/top", token, limit="1")
    counted = {"rule": "no_olm", "notices": 21, "error": 0}
    assert [{"user_id": sender.user_id, **counted}] == answer["senders"]
    device = {"user_id": recipient.user_id, "device_id": recipient.device_id}
    assert [{**device, **counted, "notices": 20}] == answer["recipients"]
    result = top(site.homeserver, token)
    assert answer["senders"] == json.loads(result.stdout)["senders"]
    for limit in ("0", "101", "1e1", "", "9" * 5000, "٣"):
        told = await site.get("v1/top", token, limit=limit)
        error = "'limit' must be a whole number from 1 to 100"
        assert (400, {"errcode": "M_INVALID_PARAM", "error": error}) == told


async def test_others_are_told_what_synapse_tells_them(site: Site) -> None:
    """So is who asks with `top`, and what to do; the token is in none of it."""
    user = site.two.sender.access_token
    for token, *expected in (
        ("", 401, "M_MISSING_TOKEN"),
        (INVENTED, 401, "M_UNKNOWN_TOKEN"),
        (user, 403, "M_FORBIDDEN"),
    ):
        for path in ("v1/status", "v1/top"):
            status, answer = await site.get(path, token)
            assert expected == [status, answer["errcode"]]
    for token, said in (
        (user, "403: the access token is not"),
        (INVENTED, "401: the access token is not valid"),
    ):
        result = top(site.homeserver, token)
        assert (2, "") == (result.returncode, result.stdout)
        assert (said in result.stderr, token in result.stderr) == (True, False)


async def test_nothing_else_is_there(site: Site, switched: Homeserver) -> None:
    """It can only be read; with `pages: false` there is nothing at all."""
    told = (404, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
    for path in ("v1", "v1/status/more", "page.html", "%00", "%ff/"):
        for token in (site.admin.access_token, ""):
            assert told == await site.get(path, token)
    without_pages = attrs.evolve(site.admin, base_url=switched.base_url)
    for path in ("", "v1/status", "v1/top"):
        assert 404 == (await without_pages.request("GET", PATH + path))[0]
        for method in ("POST", "PUT", "DELETE"):
            # Not allowed, says Synapse; Twisted has not implemented some.
            assert (await site.admin.request(method, PATH + path))[0] in {405, 501}
    assert "this process does not serve it" in top(switched, INVENTED).stderr


async def test_the_page_is_the_same_for_all_and_runs_only_itself(site: Site) -> None:
    """It holds no data; a browser runs its script, so the hashes are right."""
    url = f"{site.homeserver.base_url}{PATH}"
    response = await treq.get(url)
    html = await treq.text_content(response)
    assert not re.search(f"{site.two.sender.user_id}|{SERVER_NAME}", html)
    (policy,) = response.headers.getRawHeaders("Content-Security-Policy", [])
    expected = (
        "default-src 'none'; script-src ITSELF; style-src ITSELF; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert expected == re.sub(r"'sha256-\S+'", "ITSELF", policy)
    # Without its slash it is found, also behind a reverse proxy that adds a path.
    response = await treq.get(url.rstrip("/"), allow_redirects=False)
    location = response.headers.getRawHeaders("Location")
    assert (302, ["withheld/"]) == (response.code, location)


@pytest.fixture
def browser(chromium: Chromium, site: Site) -> Chromium:
    chromium.resize(DESKTOP)
    # What an earlier page complained about is not this one's.
    chromium.driver.get_log("browser")
    chromium.driver.get(f"{site.homeserver.base_url}{PATH}")
    assert not chromium.find("#numbers").is_displayed()
    return chromium


async def test_names_are_text_whatever_they_are(site: Site, browser: Chromium) -> None:
    """The numbers of the JSON are shown, and nothing violates the page's policy."""
    show(browser, site.admin.access_token)
    shown = [browser.find(name).text for name in ("#notices", "#share", "#state")]
    assert ["21", "100.0%", "acting"] == shown
    assert [site.two.sender.user_id] == browser.texts("#senders td:first-child")
    assert HOSTILE in browser.texts("#recipients td:nth-child(2)")
    assert "synapse_withheld" == browser.driver.title
    assert [] == browser.driver.get_log("browser")


async def test_a_token_is_nowhere_but_in_memory(site: Site, browser: Chromium) -> None:
    """Neither stored nor in the address, and gone after a reload."""
    user = site.two.sender.access_token
    for token, said in (
        (user, "This access token is not one of a server admin."),
        ("two words", "This is no access token."),
    ):
        browser.find("#token").send_keys(token, Keys.ENTER)
        wait(lambda: browser.find("#message").text, said)
    field = browser.find("#token")
    kinds = [field.get_attribute(name) for name in ("type", "autocomplete")]
    assert ["password", "off"] == kinds
    show(browser, token := site.admin.access_token)
    assert not browser.find("#message").is_displayed()
    kept = browser.run(
        "return [localStorage.length, sessionStorage.length, document.cookie,"
        " document.getElementById('token').value, document.documentElement.outerHTML]"
    )
    assert [0, 0, "", ""] == kept[:4]
    assert token not in kept[4] + browser.driver.current_url
    browser.driver.refresh()
    assert not browser.find("#numbers").is_displayed()


# With delegated authentication Synapse does not list guests, and says so.
ADMIN_API = "/_synapse/admin/v2/users?guests=false"
# By the scope of an access token; of one without nothing is known.
ANSWERED = {"urn:synapse:admin:*": 200, "": 403, None: 401}


async def test_where_authentication_is_delegated_the_scope_counts(
    own_stage: Stage,
) -> None:
    """Whatever the table `users` says, as for Synapse's admin API."""
    pytest.importorskip("synapse.config.mas", reason="Synapse has it since 1.136")
    told = dict[bytes, Any]()
    service = Listener(lambda asked: answer(asked, 200, told[asked.args[b"token"][0]]))
    url = f"http://{service.address}/"
    delegated = {"enabled": True, "endpoint": url, "secret": "of nobody"}
    config = {"matrix_authentication_service": delegated, "enable_registration": False}
    config["password_config"] = {"enabled": False}
    homeserver = await own_stage.start({}, config)
    # The table is from before the migration.
    sql = "INSERT INTO users (name, creation_ts, admin) VALUES (?, 0, ?)"
    for (scope, expected), in_table in product(ANSWERED.items(), (1, 0)):
        token = f"{expected}_{in_table}"
        homeserver.query(sql, (f"@{token}:{SERVER_NAME}", in_table))
        scopes = f"urn:matrix:org.matrix.msc2967.client:api:* {scope}"
        about = {"username": token, "sub": token, "scope": scopes}
        told[token.encode()] = {"active": scope is not None, **about}
        client = Client(homeserver.base_url, "", "", token)
        admin = await client.request("GET", ADMIN_API)
        for path in ("v1/status", "v1/top"):
            status, answered = await client.request("GET", PATH + path)
            assert (token, expected, expected) == (token, admin[0], status)
            assert expected == 200 or answered == admin[1]
    await service.stop()
