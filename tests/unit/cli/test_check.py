"""What `check`, `status` and `top` make of files, and of what they are told.

Of a real Synapse they are told it in the end-to-end tests, and each form of listener
is one there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.samples import Sample
from synapse.util.module_loader import load_module

from synapse_withheld.cli import findings
from synapse_withheld.cli.arguments import ProblemError
from synapse_withheld.cli.commands import check, status
from synapse_withheld.cli.findings import NOTE, QUESTIONS, RIGHT, UNKNOWN, WRONG
from synapse_withheld.cli.homeserver import http, numbers
from synapse_withheld.cli.homeserver.configuration import (
    MODULE,
    need_module,
    parsed,
    read,
)
from synapse_withheld.cli.homeserver.http import Address, UnreachableError
from synapse_withheld.cli.homeserver.numbers import Page, add_up, as_metrics, parse
from synapse_withheld.cli.tables import table
from synapse_withheld.config import Config
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


def test_files_are_read_as_synapse_reads_them(tmp_path: Path) -> None:
    """A later one replaces whole keys, and a directory stands for its files.

    A worker's is read on top of the others, and changes nothing for them.
    """
    shared = {"modules": [], "server_name": "a"}
    own = {"worker_name": "w1", "modules": [ENTRY]}
    for name, config in (
        ("a.yaml", {"modules": [ENTRY], "server_name": "a"}),
        ("b.yaml", own),
        ("c.yaml", {"modules": []}),
        ("d.yaml", "# nothing"),
        ("e.yaml", "- a"),
        ("f.txt", "no: [yaml"),
    ):
        write(tmp_path, config, name)
    deployment = read([tmp_path])
    assert deployment == read(sorted(tmp_path.glob("*.yaml")))
    read_by = [deployment.config_of(name) for name in ("master", "w1")]
    assert [shared, {**shared, **own}] == read_by


@pytest.mark.parametrize("config", [None, [], {"mode": "observe"}])
def test_a_config_is_read_as_synapse_reads_it(config: object) -> None:
    """An empty one has no keys, whatever it is; and the class has two names."""
    entry = {"module": "synapse_withheld.module.WithheldModule", "config": config}
    _, synapse = load_module(entry, ())
    assert synapse == parsed(need_module({"modules": [entry]}))
    assert (synapse == Config()) is not bool(config)


ENTRY = {"module": MODULE}
NOTHING, VANISH = {"rules": {"no_olm": False}}, {"rules": {"key_requests": "vanish"}}
HOLD, REDIS = {"session_hold": "24h"}, {"enabled": True}
OLD = {"module": "synapse_withheld.Withheld"}
METRICS: dict[str, Any] = {"type": "metrics", "port": 9000}
TELLING = {"type": "http", "port": 8008, "resources": [{"names": ["metrics"]}]}
NOWHERE = {**METRICS, "bind_addresses": None}
OLD_KEY = {"metrics_port": 1, "metrics_bind_host": "::1"}
ON, OFF = {"enable_metrics": True}, {"enable_metrics": False}


def of(module: Any = None, **more: Any) -> list[Any]:
    """Return the files of a homeserver: one, with the module."""
    return [{**with_module(module), **ON, **more}]


def modules(*entries: Any) -> list[Any]:
    return [{"modules": list(entries)}]


def worker(**more: Any) -> list[Any]:
    """Return its files where a worker writes."""
    writers = {"stream_writers": {"to_device": ["w"]}, "metrics_port": 1}
    return [*of(**writers), {"worker_name": "w", **more}]


@pytest.mark.parametrize(
    ("question", "state", "says", "files", "told"),
    [
        ("config", WRONG, "is not YAML, line 2$", ["a: 1\nb: hunter2: x\n"], None),
        ("config", WRONG, "not under 'modules'", modules({"module": "x.Y"}, 5), None),
        ("config", WRONG, "is no list", [{"modules": ENTRY}], None),
        ("config", WRONG, "more than once", modules(ENTRY, ENTRY), None),
        ("config", WRONG, "'synapse_withheld.Withheld'", modules(OLD), None),
        ("config", WRONG, "'mode' must be", of({"mode": "x"}), None),
        ("config", WRONG, "'a' beside 'config'", modules({**ENTRY, "a": 1}), None),
        ("config", WRONG, "_device' is ..", of(stream_writers={"to_device": []}), None),
        # Synapse starts with it, and it does something else than it seems to.
        ("config", NOTE, "all rules are off", of(NOTHING), page()),
        ("config", NOTE, "nothing without 'repeat: session'", of(HOLD), page()),
        ("config", RIGHT, "", of(VANISH), page()),
        ("config", NOTE, "as 'true' with workers", of(VANISH, redis=REDIS), page()),
        ("writer", RIGHT, "^w$", worker(), page()),
        ("metrics", RIGHT, r"^http://\[::1\]:1/", of(**OLD_KEY), page()),
        ("metrics", NOTE, "under 'listeners'", of(listeners=[METRICS], **OFF), page()),
        # A worker serves the resource whether metrics are enabled or not.
        ("metrics", RIGHT, "", worker(worker_listeners=[TELLING], **OFF), page()),
        ("metrics", NOTE, "", worker(worker_listeners=[METRICS], **OFF), page()),
        ("metrics", NOTE, "under 'worker_listeners'", worker(), page()),
        # What Synapse does not start with.
        ("metrics", WRONG, "its 'listeners'", of(listeners=[METRICS, None]), None),
        ("metrics", WRONG, "its 'listeners'", of(listeners=[NOWHERE]), None),
        # A restart may have been forgotten; or the listener is something else's.
        ("loaded", WRONG, "did not load the module", of(), Page(())),
        ("loaded", WRONG, f"version 0, not {VERSION}", of(), page(version="0")),
        ("loaded", WRONG, "mode observe, not enforce", of(), page(mode="observe")),
        ("active", WRONG, "stores every message", of(), page(active=0)),
        ("active", NOTE, "0 would", of({"mode": "observe"}), page(mode="observe")),
        # What failed may be of long ago, and lost nothing.
        ("failures", NOTE, "2 since it started; no message", of(), page(failures=2)),
    ],
)
def test_each_finding_has_its_state_and_its_words(
    tmp_path: Path,
    monkeypatch: Any,
    question: str,
    state: str,
    says: str,
    files: Any,
    told: Any,
) -> None:
    """What is not right comes with what to do; what follows from it is unknown."""

    def fetch(*_: Any) -> Any:
        if told is None:
            raise UnreachableError("nobody")
        return told

    monkeypatch.setattr(numbers, "fetch", fetch)
    monkeypatch.setattr(http, "get", lambda *_: (200, ""))
    paths = [Path(write(tmp_path, each, f"{n}.yaml")) for n, each in enumerate(files)]
    at, url = QUESTIONS.index(question), None if question == "metrics" else URL
    answers = check.look(paths, url, "")
    assert (state, bool(state in {WRONG, NOTE})) == (
        answers[at].state,
        bool(answers[at].do),
    )
    assert re.search(says, answers[at].found)
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
