"""The page of server admins, given what a healthy Synapse never answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.config import Config
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.pages import asking
from synapse_withheld.operators.pages.answers import Answers
from synapse_withheld.operators.tally import Tally
from synapse_withheld.operators.wording import WHAT_FAILED, WHY
from tests.harness.browser import DESKTOP, PHONE, Chromium, is_read, show, wait

PAGE = Path(asking.__file__).with_name("page.html").as_uri()
TOKEN = "syt_token"  # noqa: S105 of nobody
STATUS, TOP = "v1/status", "v1/top"
NOW_TS = 1_700_000_000_000
# Of a module that did nothing yet.
NOTHING = Answers(
    server_name="example.org",
    process="master",
    synapse="1.163.2",
    started_ts=NOW_TS - 100_000,
    now_ts=lambda: NOW_TS,
    config=Config(),
    metrics=Metrics("page"),
    tally=Tally(lambda: 0.0),
    sweeps=False,
)
ANSWERED = {STATUS: {**NOTHING.status(), "state": "acting"}, TOP: NOTHING.top(1000)}
HANGS = None
# Answers with JSON, with text that is none, with a status alone, or when time is up.
ANSWERS = """
window.asked = [], window.answers = arguments[0];
AbortSignal.timeout = (ms) => ({ends: ms});
window.fetch = async (path, {headers, signal}) => {
  asked.push([path, headers.Authorization]);
  const answer = answers[path.split("?")[0]];
  if (answer === null) await new Promise((_, end) => signal?.ends === 15000 && end());
  if (Number.isInteger(answer)) return new Response("{}", {status: answer});
  return new Response(typeof answer === "string" ? answer : JSON.stringify(answer));
};
"""

USER = {"user_id": "@a:b.c", "rule": "no_olm", "notices": 1060, "error": 0}
SWEPT = {"notices": 30, "deleted": 20, "deleted_bytes": 12_345}
SWEEP: dict[str, Any] = {**SWEPT, "done": False, "position": 0.42, "rows": 2000}
SWEEP["rules"] = [{"rule": "withheld", **SWEPT}]


@pytest.fixture
def page(chromium: Chromium) -> Chromium:
    chromium.resize(DESKTOP)
    chromium.driver.get(PAGE)
    chromium.run(ANSWERS, ANSWERED)
    return chromium


def tell(page: Chromium, what: Any = None, path: str = STATUS, **changed: Any) -> None:
    """Have the page told something, or the same as before but for what is changed."""
    told = {**ANSWERED[path], **changed} if changed else what
    page.run("answers[arguments[0]] = arguments[1]", path, told)


def refresh(page: Chromium) -> None:
    """Let the time pass until the page reads again."""
    page.run("const due = window.due; window.due = null; due();")
    is_read(page)


def state(page: Chromium) -> tuple[str, str | None, bool]:
    """Return what it says that the module does, and its color, if it shows."""
    node = page.find("#state")
    dot = "return getComputedStyle(arguments[0], '::before').content !== 'none'"
    return node.text, node.get_attribute("class"), page.run(dot, node)


def test_a_forgotten_token_is_not_sent_again(page: Chromium) -> None:
    """And takes the numbers along, which are not left behind the form either."""
    tell(page, path=TOP, senders=[USER])
    show(page, TOKEN)
    refresh(page)
    text = "return document.body.textContent"
    assert "@a:b.c" in page.run(text)
    page.find("#forget").click()
    assert page.find("#ask").is_displayed()
    assert not page.find("#numbers").is_displayed()
    assert "@a:b.c" not in page.run(text)
    page.run("window.due(); window.due = null;")
    show(page, "another")
    # Below its own address: a reverse proxy may add a path.
    asked = [
        [path, f"Bearer {token}"]
        for token in (TOKEN, TOKEN, "another")
        for path in (STATUS, f"{TOP}?limit=10")
    ]
    assert page.run("return asked") == asked


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (502, "Synapse answers with 502."),
        ("<!DOCTYPE html>", "What answers is not the module, or stops halfway."),
        (HANGS, "Synapse cannot be reached."),
    ],
    ids=["status", "no-json", "hangs"],
)
def test_what_goes_wrong_is_said(page: Chromium, answer: Any, said: str) -> None:
    """And it tries again, until it is answered; before a token it says nothing."""
    assert state(page) == ("", "state", False)
    tell(page, notices=7)
    show(page, TOKEN)
    assert state(page) == ("acting", "state acting", True)
    tell(page, answer)
    refresh(page)
    assert page.find("#message").text.startswith(f"{said} What is shown is of ")
    assert page.find("#notices").text == "7"
    assert state(page) == ("no answer from Synapse", "state lost", True)
    tell(page, notices=8, state="resting")
    refresh(page)
    assert not page.find("#message").is_displayed()
    assert page.find("#notices").text == "8"
    rests = "resting: the database is slow or failed just now"
    assert state(page) == (rests, "state resting", True)


def test_in_observe_mode_it_says_what_would_have_been_done(page: Chromium) -> None:
    counts: Any = {"notices": 7, "collapsed": 5, "superseded": 2, "collapsed_share": 1}
    config = {**ANSWERED[STATUS]["config"], "mode": "observe"}
    tell(page, state="observing", config=config, sweep=SWEEP, **counts)
    show(page, TOKEN)
    observes = "observing: decides, changes nothing"
    assert state(page) == (observes, "state observing", True)
    label = page.find("#chart svg").get_attribute("aria-label") or ""
    said = page.find("#numbers").text + label
    assert "5 would have collapsed, 2 would have superseded one" in said
    done = re.findall(r"(\S+ \S+) (?:collapsed|superseded|deleted)", said)
    assert {*done} == {"would have", "found, none"}
    assert not re.search("not stored|saved", said, re.IGNORECASE)


def test_the_keyboard_goes_to_what_appeared(page: Chromium) -> None:
    """And a screen reader says what that is; a refresh takes it from nobody."""
    focused = "return document.activeElement.id"
    show(page, TOKEN)
    assert page.run(focused) == "numbers"
    numbers = page.find("#numbers")
    assert numbers.aria_role == "region"
    assert numbers.accessible_name == "What the module does on example.org"
    assert page.find("#state").aria_role == "status"
    assert page.run("return window.scrollY") == 0
    page.run("document.getElementById('forget').focus()")
    refresh(page)
    assert page.run(focused) == "forget"
    # The token was logged out: the numbers are not for whoever sits there next.
    tell(page, 401)
    page.run("window.due();")
    wait(lambda: page.find("#ask").is_displayed(), True)
    assert "is not valid" in page.find("#message").text
    assert page.find("#message").aria_role == "alert"
    assert page.run(focused) == "token"
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
def test_everything_can_be_read(
    page: Chromium, size: tuple[int, int], scheme: str
) -> None:
    """On screen, words in one piece, in the colors that somebody prefers."""
    many = 1_234_567
    user = {"rule": "verification_requests", "notices": many, "error": 1_000}
    long = {**user, "user_id": "@firstname.lastname:matrix.example.org"}
    reason = {**user, "queue": "outbox", "decision": "supersede", "count": many}
    failure = {"stage": "x", "count": 1_234, "last_ts": NOW_TS}
    tell(
        page,
        notices=many,
        reasons=[{**reason, "why": why} for why in WHY.values()],
        sweep={**SWEEP, "rows": many, "deleted_bytes": many},
        failures=[{**failure, "meaning": each} for each in WHAT_FAILED.values()],
    )
    tell(
        page,
        path=TOP,
        senders=[long, {**user, "user_id": f"@{'x' * 240}:b.c"}],
        recipients=[{**long, "device_id": each} for each in ("ABCDEFGHIJ", "D" * 255)],
    )
    page.resize(size)
    page.prefer(scheme)
    assert page.run(BROKEN_WORDS) == []
    show(page, TOKEN)
    assert page.run(BROKEN_WORDS) == []
    assert page.run("return document.documentElement.scrollWidth") <= size[0]
    cells = page.driver.find_elements("css selector", "#recipients tbody td")
    assert {each.aria_role for each in cells} == {"cell"}
    style = page.run("return {...getComputedStyle(document.body)}")
    text, behind = (
        sum(map(int, re.findall(r"\d+", style[name])))
        for name in ("color", "backgroundColor")
    )
    assert abs(text - behind) > 3 * 128
    assert (text > behind) == (scheme == "dark")


def test_ticks_are_round(page: Chromium) -> None:
    """Numbers, and full quarters of an hour."""
    hour = {**ANSWERED[STATUS]["last_hour"], "from_ts": NOW_TS - 3_541_000}
    show(page, TOKEN)
    for most, numbers in {
        0: "0 1",
        7: "0 2 4 6 8",
        100: "0 50 100",
        987_654: "0 500,000 1,000,000",
    }.items():
        tell(page, last_hour={**hour, "collapse": [0] * 59 + [most]})
        refresh(page)
        ticks = page.texts("#chart .axis")
        assert " ".join(each for each in ticks if ":" not in each) == numbers
        minutes = [each.partition(":")[2][:2] for each in ticks if ":" in each]
        assert sorted(minutes) == ["00", "15", "30", "45"]
