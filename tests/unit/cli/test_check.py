"""What `check`, `status` and `top` make of what they are told.

Of a real Synapse they are told it in the end-to-end tests.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.samples import Sample

from synapse_withheld.cli import findings
from synapse_withheld.cli.__main__ import make_parser
from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.commands import check, status
from synapse_withheld.cli.findings import NOTE, QUESTIONS, RIGHT, UNKNOWN, WRONG
from synapse_withheld.cli.homeserver import numbers
from synapse_withheld.cli.homeserver.http import Address, UnreachableError
from synapse_withheld.cli.homeserver.numbers import Page, add_up, as_metrics, parse
from synapse_withheld.cli.tables import table
from synapse_withheld.config import Config
from synapse_withheld.operators.pages.asking import PATH
from synapse_withheld.version import VERSION
from tests.unit.cli.conftest import Run, with_module, write

README = (Path(__file__).parents[3] / "README.md").read_text()
URL = Address("http://h/metrics")
LOADED = {"version": VERSION, "mode": "enforce", "repeat": "queued"}
DUPLICATE = {"rule": "no_olm", "decision": "collapse", "reason": "duplicate"}


def page(active: float = 1, failures: int = 0, collapsed: int = 0, **info: str) -> Page:
    told: Any = [
        ("info", {**LOADED, **info}, 1),
        ("active", {}, active),
        ("failures_total", {"stage": "tidy"}, failures),
        ("decisions_total", DUPLICATE, collapsed),
    ]
    samples = (Sample(f"synapse_withheld_{name}", *more) for name, *more in told)
    return Page(tuple(samples))


def test_the_tested_versions_are_those_of_the_readme() -> None:
    both = f"{findings.OLDEST_TESTED} to {findings.NEWEST_TESTED}"
    assert f"Tested with Synapse {both}," in README
    assert RIGHT == findings.tested("1.139.2").state
    for other in ("1.139.9", "1.97.0", "unknown"):
        assert NOTE == findings.tested(other).state


NOTHING, VANISH = {"rules": {"no_olm": False}}, {"rules": {"key_requests": "vanish"}}
HOLD, REDIS = {"session_hold": "24h"}, {"enabled": True}


def of(module: Any, **more: Any) -> dict[str, Any]:
    return {**with_module(module), **more}


OBSERVED = {"config": of({"mode": "observe"}), "told": page(mode="observe")}


@pytest.mark.parametrize(
    ("question", "state", "says", "given"),
    [
        ("config", RIGHT, "mode: enforce, repeat: queued", {}),
        ("config", WRONG, "not under 'modules'", {"config": {}}),
        # Synapse starts with it, and it does something else than it seems to.
        ("config", NOTE, "all rules are off", {"config": of(NOTHING)}),
        ("config", NOTE, "nothing without 'repeat: session'", {"config": of(HOLD)}),
        ("config", RIGHT, "", {"config": of(VANISH)}),
        ("config", NOTE, "as 'true' with work", {"config": of(VANISH, redis=REDIS)}),
        # A restart may have been forgotten; or the listener is something else's.
        ("loaded", RIGHT, "mode: enforce", {}),
        ("loaded", WRONG, "did not load the module", {"told": Page(())}),
        ("loaded", WRONG, f"version 0, not {VERSION}", {"told": page(version="0")}),
        ("loaded", WRONG, "mode observe, not enf", {"told": page(mode="observe")}),
        ("loaded", WRONG, "repeat session, not q", {"told": page(repeat="session")}),
        ("active", RIGHT, "0 collapsed", {}),
        ("active", WRONG, "stores every message", {"told": page(active=0)}),
        ("active", NOTE, "0 would have collapsed", OBSERVED),
        # What failed may be of long ago, and lost nothing.
        ("failures", RIGHT, "0", {}),
        ("failures", NOTE, "2 since it started; no mess", {"told": page(failures=2)}),
    ],
)
def test_each_finding_has_its_state_and_its_words(
    tmp_path: Path, monkeypatch: Any, question: str, state: str, says: str, given: Any
) -> None:
    """What is not right comes with what to do; what follows from it is unknown."""
    monkeypatch.setattr(numbers, "fetch", lambda _: given.get("told", page()))
    path = Path(write(tmp_path, given.get("config", of({}))))
    at, answers = QUESTIONS.index(question), check.look([path], URL, "")
    assert state == answers[at].state
    assert re.search(says, answers[at].found)
    assert bool(answers[at].do) == (state in {WRONG, NOTE})
    assert {RIGHT, NOTE} >= {each.state for each in answers[:at]}
    if state == WRONG:
        assert {UNKNOWN} == {each.state for each in answers[at + 1 :]}


def test_the_page_is_there_where_it_is_served() -> None:
    """Without metrics nothing else is seen; 503 is of one who cannot ask who asks."""
    assert RIGHT == findings.page_answers(URL, 200, Config()).state
    assert UNKNOWN == findings.page_answers(URL, 404, Config(pages=False)).state
    with pytest.raises(ProblemError, match="did not load the module"):
        findings.page_answers(URL, 404, Config())
    with pytest.raises(ProblemError, match="answers 503"):
        findings.page_answers(URL, 503, Config(pages=False))


def test_what_is_no_page_of_ours_is_told_apart() -> None:
    """A wrong port answers with something else, others tell metrics of theirs."""
    assert parse("# TYPE process_open_fds gauge\nprocess_open_fds 1\n") == Page(())
    unfinished = "# TYPE synapse_withheld_active gauge\nsynapse_withheld_active{ 1"
    for text in ("<html>Synapse is running</html>", unfinished):
        with pytest.raises(UnreachableError):
            parse(text)
    for text in ("<html>", "{}", "[]", '{"config": 1}'):
        with pytest.raises(UnreachableError, match="something else"):
            as_metrics(text)


def test_status_says_which_process_did_not_load_the_module(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "fetch", lambda _: Page(()))
    said = run("status", "http://h")
    assert 1 == said.code
    problem = "http://h/_synapse/metrics: this process did not load the module"
    assert problem == said.err.strip()


def test_where_all_is_observed_the_table_says_would_have() -> None:
    """Where something else runs too, the numbers are of both."""
    did, would = page(collapsed=6), page(mode="observe", collapsed=1200)
    for pages, says in (
        ([did], r"mode +enforce\n(.*\n)*collapsed +6\n(.*\n)*share collapsed +100.0%"),
        ([would], r"mode +observe\n(.*\n)*would have collapsed +1,200\n"),
        ([did, would], r"mode +enforce, observe\n(.*\n)*collapsed +1,206\n"),
    ):
        text = status.in_text(add_up(pages))
        assert re.search(says, text)
        assert ("would" in text) == (pages == [would])


def test_no_table_has_control_characters() -> None:
    """Anybody may choose a name that would move the cursor; the numbers stay."""
    lines = table([("name", "rows"), ("@\x1b[2J\r\u202eevil:b", 1200)])
    assert lines[1].endswith("evil:b  1,200")
    assert all(each.isprintable() for line in lines for each in line)


@pytest.mark.parametrize("below", ["", "/below"])
@pytest.mark.parametrize("more", ["", "/", f"{PATH}", f"{PATH}/?a=b"])
def test_the_address_of_the_page_is_that_of_the_writer(below: str, more: str) -> None:
    parsed = make_parser().parse_args(["top", f"http://h:8008{below}{more}"])
    assert f"http://h:8008{below}" == parsed.url
