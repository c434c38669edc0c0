"""The page of server admins beside a real Synapse, in a real browser."""

from __future__ import annotations

import re
from functools import partial

import pytest
from selenium.webdriver.common.keys import Keys

from tests.e2e.test_pages import PATH, Site
from tests.harness.browser import DESKTOP, Chromium, show, wait
from tests.harness.reactor import async_fixture, in_reactor
from tests.harness.servers.stage import Stage, new_name, send, two_on

# Names that would be run, if they were ever taken for HTML.
HOSTILE = '<img src=x onerror="document.title=1">'


@async_fixture(scope="module")
async def site(stage: Stage) -> Site:
    """Run a Synapse after some traffic, some of it for a device with a nasty name."""
    homeserver = await stage.start({"sweep": True})
    admin = await homeserver.register("admin", admin=True)
    two = await two_on(homeserver)
    for _ in range(30):
        await two.send(two.notice())
    nasty = await homeserver.register(new_name("nasty"), device_id=HOSTILE)
    await send(two.sender, nasty, two.notice())
    return Site(homeserver, admin, two)


@pytest.fixture
def browser(chromium: Chromium, site: Site) -> Chromium:
    chromium.resize(DESKTOP)
    # What an earlier page complained about is not this one's.
    chromium.complaints()
    chromium.driver.get(f"{site.homeserver.base_url}{PATH}")
    return chromium


@in_reactor
async def test_it_shows_the_numbers_of_the_json(site: Site, browser: Chromium) -> None:
    """And nothing of it violates the page's policy."""
    assert not browser.find("#numbers").is_displayed()
    show(browser, site.admin.access_token)
    _, told = await site.get("v1/status", site.admin)

    shown = {name: browser.find(f"#{name}").text for name in ("notices", "share")}
    assert shown == {"notices": "31", "share": "100.0%"}
    assert browser.find("#pairs").text == str(told["tracked"]["pairs"])
    size = f"{told['collapsed_bytes']:,} bytes"
    assert browser.find("#bytes").get_attribute("title") == size
    assert browser.find("#state").text.endswith("acting")
    assert site.homeserver.server_name in browser.find("#where").text
    assert browser.find("#failures").text == "None."
    assert browser.find("#swept").text.startswith("Done. ")
    whys = [row["why"] for row in told["reasons"]]
    assert browser.texts("#reasons tbody td:nth-child(4)") == whys
    # Every minute and every decision, and in words for those who cannot see them.
    titles = browser.run(
        "return [...document.querySelectorAll('#chart .column title')]"
        ".map((each) => each.textContent)"
    )
    counted = [
        sum(map(int, re.findall(rf"(\d+) {name}", " ".join(titles))))
        for name in ("collapse", "deliver", "supersede")
    ]
    assert (len(titles), counted) == (60, [29, 2, 0])
    label = browser.find("#chart svg").get_attribute("aria-label") or ""
    assert "29 collapsed: a queued one says all of it" in label
    assert browser.complaints() == []


@in_reactor
async def test_names_are_text_whatever_they_are(site: Site, browser: Chromium) -> None:
    """Any user may give a device any name."""
    show(browser, site.admin.access_token)
    assert browser.texts("#senders tbody td:first-child") == [site.two.sender.user_id]
    assert HOSTILE in browser.texts("#recipients tbody td:nth-child(2)")
    assert browser.driver.title == "synapse_withheld"
    assert browser.run("return document.images.length") == 0


@in_reactor
async def test_the_token_is_nowhere_but_in_memory(
    site: Site, browser: Chromium
) -> None:
    """Neither stored nor in the address, and gone after a reload."""
    show(browser, site.admin.access_token)
    kept = browser.run(
        "return [localStorage.length, sessionStorage.length, document.cookie,"
        " document.documentElement.outerHTML, document.getElementById('token').value]"
    )
    assert kept[:3] + kept[4:] == [0, 0, "", ""]
    token = site.admin.access_token
    assert token not in kept[3] + browser.driver.current_url
    field = browser.find("#token")
    kinds = [field.get_attribute(name) for name in ("type", "autocomplete")]
    assert kinds == ["password", "off"]
    browser.driver.refresh()
    assert browser.find("#ask").is_displayed()
    assert not browser.find("#numbers").is_displayed()


def says(browser: Chromium, text: str) -> bool:
    return text in browser.find("#message").text


@in_reactor
async def test_a_wrong_token_is_called_that(site: Site, browser: Chromium) -> None:
    """Each with its reason, and the form is there for another."""
    for token, said in (
        ("invented", "This access token is not valid"),
        (site.two.sender.access_token, "not one of a server admin"),
        ("two words", "This is no access token."),
    ):
        browser.find("#token").send_keys(token, Keys.ENTER)
        wait(partial(says, browser, said), True)
        assert browser.find("#ask").is_displayed()
    show(browser, site.admin.access_token)
    assert not browser.find("#message").is_displayed()
