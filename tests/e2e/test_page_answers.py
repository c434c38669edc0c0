"""The page of server admins, given what a healthy Synapse never answers."""

from __future__ import annotations

import time
from typing import Any, Callable, Iterator

import pytest

from tests.harness.browsers.chromium import DESKTOP, Chromium
from tests.harness.browsers.page_server import HANGS, NOW_TS, PageServer, status, top
from tests.harness.polling import LOOK_AGAIN_S, PATIENCE_S

BOTH = ["v1/status", "v1/top?limit=10"]
TOKEN = "syt_token"  # noqa: S105 of nobody

# Time stands still: `due` is what would run when the page refreshes next.
CLOCK = """
const later = window.setTimeout;
window.due = null;
window.setTimeout = (run, ms) => ms === 15000 ? (window.due = run, 0) : later(run, ms);
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Run a browser for all of this, whose clock the tests hold."""
    browser = Chromium.start()
    try:
        browser.resize(DESKTOP)
        browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=CLOCK)
        yield browser
    finally:
        browser.stop()


@pytest.fixture
def server() -> Iterator[PageServer]:
    """Serve the page, and that nothing happened yet."""
    server = PageServer({"v1/status": status(), "v1/top": top()})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def browser(chromium: Chromium, server: PageServer) -> Chromium:
    """Open the page anew."""
    chromium.complaints()
    chromium.driver.get(server.url)
    return chromium


def wait(look: Callable[[], Any], expected: Any) -> None:
    """Look until what is seen is what is expected; no reactor is needed."""
    ends = time.monotonic() + PATIENCE_S
    while (seen := look()) != expected and time.monotonic() < ends:
        time.sleep(LOOK_AGAIN_S)
    assert seen == expected


def give(browser: Chromium) -> None:
    """Type an access token."""
    browser.find("#token").send_keys(TOKEN)
    browser.find("#ask button").click()


def show(browser: Chromium) -> None:
    """Wait until the page shows numbers and has planned to read them again."""
    give(browser)
    wait(lambda: browser.run("return window.due !== null"), True)
    assert browser.find("#numbers").is_displayed()


def refresh(browser: Chromium) -> None:
    """Let the time pass until the page reads again, and wait until it did."""
    browser.run("const due = window.due; window.due = null; due();")
    wait(lambda: browser.run("return window.due !== null"), True)


def hide(browser: Chromium, hidden: bool) -> None:
    """Show another tab, or this one again."""
    browser.run(
        "const [hidden] = arguments;"
        "Object.defineProperty(document, 'hidden',"
        " {configurable: true, get: () => hidden});"
        "document.dispatchEvent(new Event('visibilitychange'));",
        hidden,
    )


def test_it_asks_below_its_own_address(browser: Chromium, server: PageServer) -> None:
    """A reverse proxy may have Synapse below a path; the token is in a header."""
    show(browser)
    assert sorted(server.asked) == [(path, f"Bearer {TOKEN}") for path in BOTH]
    assert browser.complaints() == []


def test_it_refreshes_but_not_while_it_is_hidden(
    browser: Chromium, server: PageServer
) -> None:
    """Each time both; back in sight, at once."""
    show(browser)
    refresh(browser)
    assert len(server.asked) == 2 * len(BOTH)
    hide(browser, True)
    # Nothing is asked before it returns, nor is there anything due after it.
    browser.run("const due = window.due; window.due = null; due();")
    assert browser.run("return window.due") is None
    hide(browser, False)
    wait(lambda: browser.run("return window.due !== null"), True)
    assert len(server.asked) == 3 * len(BOTH)


def test_a_forgotten_token_is_not_sent_again(
    browser: Chromium, server: PageServer
) -> None:
    """Neither when the page would have refreshed nor when it comes into sight."""
    show(browser)
    browser.find("#forget").click()
    browser.run("window.due();")
    hide(browser, False)
    # What comes with another token is the first that is asked for since.
    browser.find("#token").send_keys("another")
    browser.find("#ask button").click()
    wait(lambda: browser.find("#numbers").is_displayed(), True)
    tokens = [token for _, token in server.asked]
    assert tokens == [f"Bearer {TOKEN}"] * 2 + ["Bearer another"] * 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (502, "Synapse answers with 502."),
        (b"<!DOCTYPE html>", "What answers is not the module, or stops halfway."),
        (HANGS, "Synapse cannot be reached."),
    ],
    ids=["status", "no-json", "hangs"],
)
def test_what_goes_wrong_is_said_and_the_numbers_stay(
    browser: Chromium, server: PageServer, answer: Any, said: str
) -> None:
    """And it tries again, until all is well."""
    server.answers["v1/status"] = status(notices=7)
    show(browser)
    server.answers["v1/status"] = answer
    browser.run(
        "const after = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (ms) => after(ms === 15000 ? 500 : ms);"
    )
    refresh(browser)
    assert browser.find("#message").text.startswith(f"{said} What is shown is of ")
    assert browser.find("#notices").text == "7"
    server.answers["v1/status"] = status(notices=8)
    refresh(browser)
    assert not browser.find("#message").is_displayed()
    assert browser.find("#notices").text == "8"


def test_a_token_that_was_logged_out_takes_the_numbers_along(
    browser: Chromium, server: PageServer
) -> None:
    """They are not for whoever sits there next."""
    show(browser)
    server.answers["v1/status"] = 401
    browser.run("window.due();")
    wait(lambda: browser.find("#ask").is_displayed(), True)
    assert "is not valid" in browser.find("#message").text
    assert not browser.find("#numbers").is_displayed()


@pytest.mark.parametrize(
    ("state", "shown", "collapsed"),
    [
        ("acting", "acting", "5 collapsed, 2 superseded one"),
        (
            "observing",
            "observing: decides, changes nothing",
            "5 would have collapsed, 2 would have superseded one",
        ),
        (
            "resting",
            "resting: the database is slow or failed just now",
            "5 collapsed, 2 superseded one",
        ),
    ],
)
def test_it_says_what_the_module_is_doing(
    browser: Chromium, server: PageServer, state: str, shown: str, collapsed: str
) -> None:
    """In words, not by a color alone."""
    server.answers["v1/status"] = status(state=state, collapsed=5, superseded=2)
    show(browser)
    assert browser.find("#state").text.endswith(shown)
    assert browser.find("#collapsed").text == collapsed


def test_failures_are_told_in_the_words_of_the_json(
    browser: Chromium, server: PageServer
) -> None:
    """Those that happened; the others are not listed."""
    server.answers["v1/status"] = status(
        failures=[
            {"stage": "decide", "count": 0, "last_ts": None, "meaning": "never"},
            {"stage": "tidy", "count": 1234, "last_ts": NOW_TS, "meaning": "<b>it"},
        ]
    )
    show(browser)
    assert "No message is lost" in browser.find("#failures").text
    assert browser.texts("#stages tbody td")[:2] == ["1,234", "<b>it"]
    assert len(browser.texts("#stages tbody tr")) == 1


def test_an_estimate_is_a_range(browser: Chromium, server: PageServer) -> None:
    """The true number lies between; without an error it is that number."""
    user = {"user_id": "@a:b.c", "rule": "no_olm", "notices": 1060, "error": 0}
    server.answers["v1/top"] = top(
        senders=[user, {**user, "error": 10}],
        recipients=[{**user, "device_id": "D", "error": 60}],
    )
    show(browser)
    counts = browser.texts("#senders tbody td:nth-child(3)")
    assert counts == ["1,060", "1,050 to 1,060"]
    recipient = ["@a:b.c", "D", "no_olm", "1,000 to 1,060"]
    assert browser.texts("#recipients tbody td") == recipient


def test_a_sweep_says_how_far_it_is(browser: Chromium, server: PageServer) -> None:
    """And where there is none, nothing."""
    show(browser)
    assert not browser.find("#sweep").is_displayed()
    found = {"rows": 2000, "notices": 30, "deleted": 20, "deleted_bytes": 12_345}
    rules = [{"rule": "withheld", "notices": 30, "deleted": 20, "deleted_bytes": 1000}]
    sweep = {"done": False, "position": 0.42, **found, "rules": rules}
    server.answers["v1/status"] = status(sweep=sweep)
    refresh(browser)
    assert browser.find("#swept").text == (
        "42% done: 2,000 rows looked at, 30 notices found, 20 deleted (12.3 kB)."
    )
    told = browser.texts("#swept-rules tbody td")
    assert told == ["withheld", "30", "20", "1.00 kB"]


def test_bars_are_told_apart_without_color(
    browser: Chromium, server: PageServer
) -> None:
    """One is filled, one striped, one hollow; the legend shows the same."""
    hour = status()["last_hour"]
    counted = {each: [3] * 60 for each in ("collapse", "supersede", "deliver")}
    server.answers["v1/status"] = status(last_hour={**hour, **counted})
    show(browser)
    card = browser.run(
        "return getComputedStyle(document.querySelector('.card')).backgroundColor"
    )
    for what in (".bar", ".key"):
        styles = browser.run(
            "const [what] = arguments;"
            "return ['collapse', 'supersede', 'deliver'].map((name) => {"
            " const node = document.querySelector(`${what}.${name}`);"
            " const {fill, stroke} = getComputedStyle(node); return [fill, stroke]; })",
            what,
        )
        (filled, _), (striped, _), (hollow, outline) = styles
        assert filled not in (card, "none")
        assert "#stripes" in striped
        assert hollow == card
        assert outline != "none"
