"""The page of server admins, given what a healthy Synapse never answers."""

from __future__ import annotations

import re
from typing import Any, Iterator

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from synapse_withheld.operators.wording import WHAT_FAILED, WHY
from tests.harness.browser import (
    DESKTOP,
    HANGS,
    NOW_TS,
    PHONE,
    Chromium,
    PageServer,
    is_read,
    show,
    status,
    top,
    wait,
)

BOTH = ["v1/status", "v1/top?limit=10"]
TOKEN = "syt_token"  # noqa: S105 of nobody
FOCUSED = "return document.activeElement.id"
BODY_CONTRAST = 4.5  # at least, for text of ordinary size (WCAG 2.2, level AA)


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
    chromium.resize(DESKTOP)
    chromium.driver.get(server.url)
    return chromium


def refresh(browser: Chromium) -> None:
    """Let the time pass until the page reads again."""
    browser.run("const due = window.due; window.due = null; due();")
    is_read(browser)


def state(browser: Chromium) -> tuple[str, str | None]:
    """Return what the page says that the module does, and what colors it."""
    node = browser.find("#state")
    return node.text, node.get_attribute("class")


def hide(browser: Chromium, hidden: bool) -> None:
    browser.run(
        "const [hidden] = arguments;"
        "Object.defineProperty(document, 'hidden',"
        " {configurable: true, get: () => hidden});"
        "document.dispatchEvent(new Event('visibilitychange'));",
        hidden,
    )


def test_it_asks_below_its_own_address_but_not_while_it_is_hidden(
    browser: Chromium, server: PageServer
) -> None:
    """A reverse proxy may have Synapse below a path; the token is in a header."""
    show(browser, TOKEN)
    assert sorted(server.asked) == [(path, f"Bearer {TOKEN}") for path in BOTH]
    refresh(browser)
    assert len(server.asked) == 2 * len(BOTH)
    hide(browser, True)
    # Nothing is asked before it returns, nor is there anything due after it.
    browser.run("const due = window.due; window.due = null; due();")
    assert browser.run("return window.due") is None
    hide(browser, False)
    is_read(browser)
    assert len(server.asked) == 3 * len(BOTH)


def test_a_forgotten_token_is_not_sent_again(
    browser: Chromium, server: PageServer
) -> None:
    """And takes the numbers along, which are not left behind the form either.

    Neither when the page would have refreshed nor when it comes into sight.
    """
    user = {"user_id": "@a:b.c", "rule": "no_olm", "notices": 1, "error": 0}
    server.answers["v1/top"] = top(senders=[user])
    show(browser, TOKEN)
    text = "return document.body.textContent"
    assert "@a:b.c" in browser.run(text)
    browser.find("#forget").click()
    assert browser.find("#ask").is_displayed()
    assert not browser.find("#numbers").is_displayed()
    assert "@a:b.c" not in browser.run(text)
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
    show(browser, TOKEN)
    server.answers["v1/status"] = answer
    browser.run(
        "const after = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (ms) => after(ms === 15000 ? 500 : ms);"
    )
    refresh(browser)
    assert browser.find("#message").text.startswith(f"{said} What is shown is of ")
    assert browser.find("#notices").text == "7"
    assert state(browser) == ("no answer from Synapse", "state lost")
    server.answers["v1/status"] = status(notices=8)
    refresh(browser)
    assert not browser.find("#message").is_displayed()
    assert browser.find("#notices").text == "8"
    assert state(browser) == ("acting", "state acting")


def test_a_token_that_was_logged_out_takes_the_numbers_along(
    browser: Chromium, server: PageServer
) -> None:
    """They are not for whoever sits there next."""
    show(browser, TOKEN)
    server.answers["v1/status"] = 401
    browser.run("window.due();")
    wait(lambda: browser.find("#ask").is_displayed(), True)
    assert "is not valid" in browser.find("#message").text
    assert browser.find("#message").aria_role == "alert"
    assert browser.run(FOCUSED) == "token"
    assert not browser.find("#numbers").is_displayed()


@pytest.mark.parametrize(
    ("doing", "mode", "shown"),
    [
        ("acting", "enforce", "acting"),
        ("resting", "enforce", "resting: the database is slow or failed just now"),
        ("observing", "observe", "observing: decides, changes nothing"),
        ("resting", "observe", "resting: the database is slow or failed just now"),
    ],
)
def test_it_says_what_the_module_does_or_would_do(
    browser: Chromium, server: PageServer, doing: str, mode: str, shown: str
) -> None:
    """In words, not by a color alone; before a token is given, nothing at all.

    In observe mode nothing was done, and nothing says so.
    """
    dot = (
        "return getComputedStyle(document.getElementById('state'), '::before').content"
    )
    assert (browser.run(dot), browser.find("#state").text) == ("none", "")
    rules = [{"rule": "withheld", "notices": 30, "deleted": 0, "deleted_bytes": 0}]
    found = {"rows": 2000, "notices": 30, "deleted": 0, "deleted_bytes": 0}
    sweep = {"done": True, "position": 1, **found, "rules": rules}
    config = {**status()["config"], "mode": mode}
    counts = {"notices": 7, "collapsed": 5, "superseded": 2, "collapsed_share": 5 / 7}
    server.answers["v1/status"] = status(
        state=doing, config=config, collapsed_bytes=99, sweep=sweep, **counts
    )
    show(browser, TOKEN)
    assert state(browser) == (shown, f"state {doing}")
    assert browser.run(dot) != "none"
    if mode == "observe":
        said = browser.find("#numbers").text
        label = browser.find("#chart svg").get_attribute("aria-label") or ""
        collapsed = "5 would have collapsed, 2 would have superseded one"
        assert browser.find("#collapsed").text == collapsed
        would = re.findall(r"(\S+ \S+) (?:collapsed|superseded|deleted)", said + label)
        assert {*would} <= {"would have", "found, none"}
        assert "not stored" not in said.lower().replace(
            "would not have been stored", ""
        )
        assert "saved" not in said
    browser.find("#forget").click()
    assert browser.run(dot) == "none"


def test_the_keyboard_goes_to_what_appeared(browser: Chromium) -> None:
    """And a screen reader says what that is; a refresh takes it from nobody."""
    browser.run("document.getElementById('token').focus()")
    ActionChains(browser.driver).send_keys(TOKEN, Keys.ENTER).perform()
    is_read(browser)
    assert browser.run(FOCUSED) == "numbers"
    numbers = browser.find("#numbers")
    assert (numbers.aria_role, numbers.accessible_name) == (
        "region",
        "What the module does on example.org",
    )
    assert browser.run("return window.scrollY") == 0
    assert browser.find("#state").aria_role == "status"
    browser.run("document.getElementById('forget').focus()")
    refresh(browser)
    assert browser.run(FOCUSED) == "forget"
    ActionChains(browser.driver).send_keys(Keys.ENTER).perform()
    assert browser.run(FOCUSED) == "token"


def crowded() -> dict[str, Any]:
    rule, many = "verification_requests", 1_234_567
    long = "@firstname.lastname:matrix.example.org"
    user = {"user_id": long, "rule": rule, "notices": many, "error": 1_000}
    reason = {"rule": rule, "queue": "outbox", "count": many}
    swept = {"notices": many, "deleted": many, "deleted_bytes": many}
    rules = [{"rule": rule, **swept}]
    failure = {"stage": "x", "count": 1_234, "last_ts": NOW_TS}
    return {
        "v1/status": status(
            notices=many,
            reasons=[
                {**reason, "decision": each.action, "reason": each.reason, "why": why}
                for each, why in WHY.items()
            ],
            sweep={"done": True, "position": 1, "rows": many, **swept, "rules": rules},
            failures=[{**failure, "meaning": each} for each in WHAT_FAILED.values()],
        ),
        "v1/top": top(
            senders=[user, {**user, "user_id": f"@{'x' * 240}:b.c"}],
            recipients=[
                {**user, "device_id": each} for each in ("ABCDEFGHIJ", "D" * 255)
            ],
        ),
    }


# What is seen of each word, where it does not have to be broken.
BROKEN_WORDS = """
const broken = [], walker = document.createTreeWalker(
  document.querySelector("main"), NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, range = document.createRange();
  const parent = node.parentElement;
  if (!parent.checkVisibility() || parent.closest("svg")) continue;
  for (const match of node.data.matchAll(/[^\\s-]+/g)) {
    if (match[0].length > 60) continue;
    range.setStart(node, match.index);
    range.setEnd(node, match.index + match[0].length);
    const tops = [...range.getClientRects()].map((each) => Math.round(each.top));
    if (new Set(tops).size > 1) broken.push(match[0]);
  }
}
return broken;
"""
# Of each text its size, its color and the color behind it.
TEXTS = """
const behind = (node) => {
  const color = getComputedStyle(node).backgroundColor;
  return color === "rgba(0, 0, 0, 0)" ? behind(node.parentElement) : color;
};
const holdsText = (node) => [...node.childNodes].some(
  (child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
return [...document.querySelectorAll("main *")]
  .filter((each) => !(each instanceof SVGElement))
  .filter((each) => each.checkVisibility() && holdsText(each))
  .map((each) => [getComputedStyle(each), behind(each)])
  .map(([style, color]) => [parseFloat(style.fontSize), style.color, color]);
"""


def luminance(color: str) -> float:
    """Return the relative luminance of a color as CSS tells it (WCAG 2.2)."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")], ids=["phone", "desktop"]
)
def test_everything_can_be_read(
    browser: Chromium, server: PageServer, size: tuple[int, int], scheme: str
) -> None:
    """In both color schemes: on screen, words in one piece, and in contrast."""
    server.answers.update(crowded())
    browser.resize(size)
    browser.prefer(scheme)
    assert browser.run(BROKEN_WORDS) == []
    show(browser, TOKEN)
    assert browser.run(BROKEN_WORDS) == []
    width = browser.run("return document.documentElement.scrollWidth")
    assert width <= size[0]
    rows = browser.driver.find_elements("css selector", "#recipients tbody td")
    assert {each.aria_role for each in rows} == {"cell"}

    texts = browser.run(TEXTS)
    assert len(texts) > 20
    for font_size, *colors in texts:
        dark, light = sorted(map(luminance, colors))
        assert font_size >= 14
        assert (light + 0.05) / (dark + 0.05) >= BODY_CONTRAST, colors
    page = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (luminance(page) < 0.2) == (scheme == "dark")


@pytest.mark.parametrize(
    ("most", "numbers"),
    [
        (0, "0 1"),
        (7, "0 2 4 6 8"),
        (100, "0 50 100"),
        (101, "0 50 100 150"),
        (987_654, "0 500,000 1,000,000"),
    ],
)
def test_ticks_are_round(
    browser: Chromium, server: PageServer, most: int, numbers: str
) -> None:
    """Numbers, and full quarters of an hour."""
    hour = {**status()["last_hour"], "from_ts": NOW_TS - 3_541_000}
    counts = [0] * 59 + [most]
    server.answers["v1/status"] = status(last_hour={**hour, "collapse": counts})
    show(browser, TOKEN)
    ticks = browser.texts("#chart .axis")
    assert " ".join(each for each in ticks if ":" not in each) == numbers
    minutes = [each.partition(":")[2][:2] for each in ticks if ":" in each]
    assert sorted(minutes) == ["00", "15", "30", "45"]


def test_it_shows_estimates_as_ranges_and_how_far_a_sweep_is(
    browser: Chromium, server: PageServer
) -> None:
    """The true number lies between; without an error it is that number."""
    show(browser, TOKEN)
    assert not browser.find("#sweep").is_displayed()
    assert browser.find("#share").text == "\N{EN DASH}"
    user = {"user_id": "@a:b.c", "rule": "no_olm", "notices": 1060, "error": 0}
    server.answers["v1/top"] = top(
        senders=[user, {**user, "error": 10}],
        recipients=[{**user, "device_id": "D", "error": 60}],
    )
    found = {"rows": 2000, "notices": 30, "deleted": 20, "deleted_bytes": 12_345}
    rules = [{"rule": "withheld", "notices": 30, "deleted": 20, "deleted_bytes": 1000}]
    sweep = {"done": False, "position": 0.42, **found, "rules": rules}
    server.answers["v1/status"] = status(sweep=sweep)
    refresh(browser)
    counts = browser.texts("#senders tbody td:nth-child(3)")
    assert counts == ["1,060", "1,050 to 1,060"]
    recipient = ["@a:b.c", "D", "no_olm", "1,000 to 1,060"]
    assert browser.texts("#recipients tbody td") == recipient
    said = browser.find("#swept").text
    assert said.startswith("42% done. Since ")
    assert said.endswith(
        ": 2,000 rows looked at, 30 notices found, 20 deleted (12.3 kB)."
    )
    told = browser.texts("#swept-rules tbody td")
    assert told == ["withheld", "30", "20", "1.00 kB"]
