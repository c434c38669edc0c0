"""What processes tell, added up and shown."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest

from synapse_withheld.cli.commands.status import in_text
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError
from synapse_withheld.cli.shared.homeserver.metrics_page import (
    Page,
    Totals,
    add_up,
    as_metrics,
    parse,
)

WRITER = """\
# HELP synapse_build_info Build information
# TYPE synapse_build_info gauge
synapse_build_info{version="1.163.2"} 1.0
# TYPE synapse_withheld_decisions_total counter
synapse_withheld_decisions_total{decision="collapse",queue="inbox",reason="held",rule="no_olm"} 5.0
synapse_withheld_decisions_total{decision="collapse",queue="outbox",reason="held",rule="no_olm"} 1.0
synapse_withheld_decisions_total{decision="deliver",queue="inbox",reason="first",rule="no_olm"} 1.0
synapse_withheld_decisions_total{decision="deliver",queue="inbox",reason="overdue",rule="no_olm"} 1.0
synapse_withheld_decisions_total{decision="supersede",queue="inbox",reason="scope",rule="withheld"} 1.0
# TYPE synapse_withheld_decisions_created gauge
synapse_withheld_decisions_created{decision="collapse",queue="inbox"} 1.7e+09
# TYPE synapse_withheld_collapsed_bytes_total counter
synapse_withheld_collapsed_bytes_total{queue="inbox"} 1200.0
# TYPE synapse_withheld_failures_total counter
synapse_withheld_failures_total{stage="decide"} 0.0
synapse_withheld_failures_total{stage="tidy"} 2.0
# TYPE synapse_withheld_tracked_pairs gauge
synapse_withheld_tracked_pairs{server_name="a"} 3.0
# TYPE synapse_withheld_active gauge
synapse_withheld_active{server_name="a"} 1.0
# TYPE synapse_withheld_info gauge
synapse_withheld_info{mode="enforce",repeat="queued",version="0.1.0"} 1.0
"""  # noqa: E501 as Synapse writes it
OTHER = """\
# TYPE synapse_withheld_active gauge
synapse_withheld_active 0.0
# TYPE synapse_withheld_tracked_pairs gauge
synapse_withheld_tracked_pairs 4.0
# TYPE synapse_withheld_info gauge
synapse_withheld_info{mode="observe",repeat="queued",version="0.1.0"} 1.0
"""
BOTH = Totals(
    processes=2,
    active=1,
    modes=("enforce", "observe"),
    seen=9,
    rules={"no_olm": 8, "withheld": 1},
    collapsed=6,
    superseded=1,
    bytes_saved=1200,
    failures=2,
    tracked_pairs=7,
    share=0.75,
)


def test_pages_of_several_processes_are_added_up() -> None:
    """Each number over all labels and processes; without repeats there is no share."""
    assert BOTH == add_up([parse(WRITER), parse(OTHER)])
    assert add_up([parse(OTHER)]).share is None


@pytest.mark.parametrize(
    ("pages", "lines"),
    [
        ([WRITER], {"share collapsed": "75.0%", "bytes saved": "1,200"}),
        ([OTHER], {"would have collapsed": "0", "share of these": "-"}),
        # Where something else runs too, the numbers are of both.
        ([WRITER, OTHER], {"mode": "enforce, observe", "collapsed": "6"}),
    ],
)
def test_in_observe_mode_the_table_says_would_have(
    pages: list[str], lines: dict[str, str]
) -> None:
    """And a share only of something."""
    table = in_text(add_up(map(parse, pages)))
    split = [re.split(r"  +", line.strip()) for line in table.splitlines()]
    assert lines.items() <= dict(split).items()
    assert ("would" in table) == (pages == [OTHER])


def test_a_page_without_the_module_has_no_samples() -> None:
    """What others tell on the page is left out."""
    assert parse("# TYPE process_open_fds gauge\nprocess_open_fds 1\n") == Page(())


@pytest.mark.parametrize(
    "text",
    [
        "<html>Synapse is running</html>",
        "# TYPE synapse_withheld_active gauge\nsynapse_withheld_active{ 1",
    ],
)
def test_what_is_no_page_of_metrics_is_said_to_be_none(text: str) -> None:
    """A wrong port answers with something else."""
    with pytest.raises(UnreachableError):
        parse(text)


@pytest.mark.parametrize(("state", "active"), [("acting", 1), ("resting", 0)])
def test_the_numbers_of_the_page_are_read_like_metrics(state: str, active: int) -> None:
    """For where there are none."""
    decided = {"decision": "collapse", "reason": "held", "rule": "no_olm"}
    status: dict[str, Any] = {
        "version": "0.1.0",
        "state": state,
        "config": {"mode": "enforce", "repeat": "queued"},
        "reasons": [{**decided, "count": 5, "why": "-"}],
        "failures": [{"stage": "tidy", "count": 2, "last_ts": None, "meaning": "-"}],
    }
    page = as_metrics(json.dumps(status))
    expected = Totals(1, active, ("enforce",), 5, {"no_olm": 5}, 5, 0, 0, 2, 0, 1.0)
    assert attrs.asdict(expected) == attrs.asdict(add_up([page]))
    assert ["0.1.0", "queued"] == [page.label(each) for each in ("version", "repeat")]


@pytest.mark.parametrize("text", ["<html>", "{}", "[]", '{"config": 1}'])
def test_what_is_not_the_page_is_said_to_be_none(text: str) -> None:
    """As behind a reverse proxy that answers everything."""
    with pytest.raises(UnreachableError, match="something else"):
        as_metrics(text)
