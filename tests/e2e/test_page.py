"""The page of server admins, given what a healthy Synapse never answers."""

from __future__ import annotations

import re
from typing import Any, Iterator, NamedTuple

import pytest

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

TOKEN = "syt_token"  # noqa: S105 of nobody
FOCUSED = "return document.activeElement.id"
USER = {"user_id": "@a:b.c", "rule": "no_olm", "notices": 1060, "error": 0}
SWEPT = {"notices": 30, "deleted": 20, "deleted_bytes": 12_345}
SWEEP: dict[str, Any] = {**SWEPT, "done": False, "position": 0.42, "rows": 2000}
SWEEP["rules"] = [{"rule": "withheld", **SWEPT}]


class Page(NamedTuple):
    """The page as a browser shows it, and what answers it."""

    browser: Chromium
    server: PageServer

    def tells(self, **changed: Any) -> None:
        self.server.answers["v1/status"] = status(**changed)

    def refresh(self) -> None:
        """Let the time pass until the page reads again."""
        self.browser.run("const due = window.due; window.due = null; due();")
        is_read(self.browser)

    def state(self) -> tuple[str, str | None, bool]:
        """Return what it says that the module does, and its color, if it shows."""
        node = self.browser.find("#state")
        dot = "return getComputedStyle(arguments[0], '::before').content !== 'none'"
        return node.text, node.get_attribute("class"), self.browser.run(dot, node)


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    """Show that nothing happened yet."""
    server = PageServer({"v1/status": status(), "v1/top": top()})
    server.start()
    chromium.resize(DESKTOP)
    chromium.driver.get(server.url)
    yield Page(chromium, server)
    server.stop()


def test_a_forgotten_token_is_not_sent_again(page: Page) -> None:
    """And takes the numbers along, which are not left behind the form either."""
    page.server.answers["v1/top"] = top(senders=[USER])
    show(page.browser, TOKEN)
    page.refresh()
    text = "return document.body.textContent"
    assert "@a:b.c" in page.browser.run(text)
    page.browser.find("#forget").click()
    assert page.browser.find("#ask").is_displayed()
    assert not page.browser.find("#numbers").is_displayed()
    assert "@a:b.c" not in page.browser.run(text)
    page.browser.run("window.due(); window.due = null;")
    # Below its own address: a reverse proxy may add a path.
    show(page.browser, "another")
    asked = [
        (path, f"Bearer {token}")
        for token in (TOKEN, TOKEN, "another")
        for path in ("v1/status", "v1/top?limit=10")
    ]
    assert sorted(page.server.asked) == sorted(asked)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (502, "Synapse answers with 502."),
        (b"<!DOCTYPE html>", "What answers is not the module, or stops halfway."),
        (HANGS, "Synapse cannot be reached."),
    ],
    ids=["status", "no-json", "hangs"],
)
def test_what_goes_wrong_is_said(page: Page, answer: Any, said: str) -> None:
    """And it tries again, until it is answered; before a token it says nothing."""
    assert page.state() == ("", "state", False)
    page.tells(notices=7)
    show(page.browser, TOKEN)
    assert page.state() == ("acting", "state acting", True)
    page.server.answers["v1/status"] = answer
    page.browser.run(
        "const after = AbortSignal.timeout.bind(AbortSignal);"
        "AbortSignal.timeout = (ms) => after(ms === 15000 ? 500 : ms);"
    )
    page.refresh()
    assert page.browser.find("#message").text.startswith(f"{said} What is shown is of ")
    assert page.browser.find("#notices").text == "7"
    assert page.state() == ("no answer from Synapse", "state lost", True)
    page.tells(notices=8, state="resting")
    page.refresh()
    assert not page.browser.find("#message").is_displayed()
    assert page.browser.find("#notices").text == "8"
    rests = "resting: the database is slow or failed just now"
    assert page.state() == (rests, "state resting", True)


def test_in_observe_mode_it_says_what_would_have_been_done(page: Page) -> None:
    counts = {"notices": 7, "collapsed": 5, "superseded": 2, "collapsed_share": 5 / 7}
    config = {**status()["config"], "mode": "observe"}
    page.tells(state="observing", config=config, sweep=SWEEP, **counts)
    show(page.browser, TOKEN)
    observes = "observing: decides, changes nothing"
    assert page.state() == (observes, "state observing", True)
    label = page.browser.find("#chart svg").get_attribute("aria-label") or ""
    said = page.browser.find("#numbers").text + label
    assert "5 would have collapsed, 2 would have superseded one" in said
    done = re.findall(r"(\S+ \S+) (?:collapsed|superseded|deleted)", said)
    assert {*done} == {"would have", "found, none"}
    assert not re.search("not stored|saved", said, re.IGNORECASE)


def test_the_keyboard_goes_to_what_appeared(page: Page) -> None:
    """And a screen reader says what that is; a refresh takes it from nobody."""
    show(page.browser, TOKEN)
    assert page.browser.run(FOCUSED) == "numbers"
    numbers = page.browser.find("#numbers")
    assert numbers.aria_role == "region"
    assert numbers.accessible_name == "What the module does on example.org"
    assert page.browser.find("#state").aria_role == "status"
    assert page.browser.run("return window.scrollY") == 0
    page.browser.run("document.getElementById('forget').focus()")
    page.refresh()
    assert page.browser.run(FOCUSED) == "forget"
    # The token was logged out: the numbers are not for whoever sits there next.
    page.server.answers["v1/status"] = 401
    page.browser.run("window.due();")
    wait(lambda: page.browser.find("#ask").is_displayed(), True)
    assert "is not valid" in page.browser.find("#message").text
    assert page.browser.find("#message").aria_role == "alert"
    assert page.browser.run(FOCUSED) == "token"
    assert not numbers.is_displayed()


# The words that are not in one piece, where they do not have to be broken.
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


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_everything_can_be_read(page: Page, size: tuple[int, int], scheme: str) -> None:
    """On screen, words in one piece, in the colors that somebody prefers."""
    many = 1_234_567
    user = {"rule": "verification_requests", "notices": many, "error": 1_000}
    long = {**user, "user_id": "@firstname.lastname:matrix.example.org"}
    reason = {**user, "queue": "outbox", "decision": "supersede", "count": many}
    failure = {"stage": "x", "count": 1_234, "last_ts": NOW_TS}
    page.tells(
        notices=many,
        reasons=[{**reason, "why": why} for why in WHY.values()],
        sweep={**SWEEP, "rows": many, "deleted_bytes": many},
        failures=[{**failure, "meaning": each} for each in WHAT_FAILED.values()],
    )
    page.server.answers["v1/top"] = top(
        senders=[long, {**user, "user_id": f"@{'x' * 240}:b.c"}],
        recipients=[{**long, "device_id": each} for each in ("ABCDEFGHIJ", "D" * 255)],
    )
    page.browser.resize(size)
    page.browser.prefer(scheme)
    assert page.browser.run(BROKEN_WORDS) == []
    show(page.browser, TOKEN)
    assert page.browser.run(BROKEN_WORDS) == []
    width = page.browser.run("return document.documentElement.scrollWidth")
    assert width <= size[0]
    cells = page.browser.driver.find_elements("css selector", "#recipients tbody td")
    assert {each.aria_role for each in cells} == {"cell"}
    style = page.browser.run("return {...getComputedStyle(document.body)}")
    text, behind = (
        sum(map(int, re.findall(r"\d+", style[name])))
        for name in ("color", "backgroundColor")
    )
    assert abs(text - behind) > 3 * 128
    assert (text > behind) == (scheme == "dark")


def test_ticks_are_round(page: Page) -> None:
    """Numbers, and full quarters of an hour."""
    hour = {**status()["last_hour"], "from_ts": NOW_TS - 3_541_000}
    show(page.browser, TOKEN)
    for most, numbers in {
        0: "0 1",
        7: "0 2 4 6 8",
        100: "0 50 100",
        101: "0 50 100 150",
        987_654: "0 500,000 1,000,000",
    }.items():
        counts = [0] * 59 + [most]
        page.tells(last_hour={**hour, "collapse": counts})
        page.refresh()
        ticks = page.browser.texts("#chart .axis")
        assert " ".join(each for each in ticks if ":" not in each) == numbers
        minutes = [each.partition(":")[2][:2] for each in ticks if ":" in each]
        assert sorted(minutes) == ["00", "15", "30", "45"]
