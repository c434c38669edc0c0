"""Pages of metrics, added up."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError

import pytest

from synapse_withheld.cli.commands.status import in_json, in_text
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError
from synapse_withheld.cli.shared.homeserver.metrics_page import (
    Page,
    Totals,
    add_up,
    complete,
    parse,
)
from synapse_withheld.cli.shared.homeserver.page import as_metrics

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


def test_pages_of_several_processes_are_added_up() -> None:
    """Each number over all labels and processes."""
    expected = Totals(
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
    assert expected == add_up([parse(WRITER), parse(OTHER)])


def test_the_share_is_that_of_the_repeats() -> None:
    """As the page and the dashboard have it; without repeats there is none."""
    assert add_up([parse(WRITER)]).share == 0.75
    assert add_up([parse(OTHER)]).share is None


def test_the_table_tells_a_share_only_of_something() -> None:
    """A dash where nothing was seen."""
    tables = [in_text(add_up([parse(each)])) for each in (WRITER, OTHER)]
    shares = [
        line.split()[-1]
        for table in tables
        for line in table.splitlines()
        if line.startswith("share")
    ]
    assert shares == ["75.0%", "-"]


def test_the_json_has_the_share_too() -> None:
    """It is the only number that is not a sum."""
    assert '"share": 0.75' in in_json(add_up([parse(WRITER)]))


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


def test_in_observe_mode_the_table_says_would_have() -> None:
    """Where something else runs too, the numbers are of both."""
    for text, would in ((OTHER, True), (WRITER, False)):
        table = in_text(add_up([parse(text)]))
        assert would == ("would have collapsed" in table)
        assert would == ("bytes it would have saved" in table)
        assert would != ("bytes saved" in table)
    assert "would" not in in_text(add_up([parse(WRITER), parse(OTHER)]))


def test_an_address_without_a_path_is_completed() -> None:
    """Synapse tells its metrics at one path."""
    completed = "http://[::1]:9000/_synapse/metrics"
    assert completed == str(complete("http://[::1]:9000"))
    assert completed == str(complete("http://[::1]:9000/"))
    assert "https://host/metrics?a=b" == str(complete("https://host/metrics?a=b"))
    assert "http://unix:/s:/_synapse/metrics" == str(complete("http://unix:/s"))


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://host", "http://", "9000"])
def test_what_is_no_address_is_refused(url: str) -> None:
    """With a sentence that argparse shows."""
    with pytest.raises(ArgumentTypeError, match="does not begin like http://127"):
        complete(url)


def test_the_numbers_of_the_page_are_read_like_metrics() -> None:
    """For where there are none."""
    decided = {"decision": "collapse", "reason": "held", "rule": "no_olm"}
    status = {
        "version": "0.1.0",
        "state": "acting",
        "config": {"mode": "enforce", "repeat": "queued"},
        "reasons": [{**decided, "count": 5, "why": "-"}],
        "failures": [{"stage": "tidy", "count": 2, "last_ts": None, "meaning": "-"}],
    }
    page = as_metrics(json.dumps(status))
    totals = add_up([page])
    assert (1, 5, 5, 2, 1.0) == (
        totals.active,
        totals.seen,
        totals.collapsed,
        totals.failures,
        totals.share,
    )
    assert ["0.1.0", "enforce", "queued"] == [
        page.label(each) for each in ("version", "mode", "repeat")
    ]
    resting = as_metrics(json.dumps({**status, "state": "resting"}))
    assert 0 == add_up([resting]).active


@pytest.mark.parametrize("text", ["<html>", "{}", "[]", '{"config": 1}'])
def test_what_is_not_the_page_is_said_to_be_none(text: str) -> None:
    """As behind a reverse proxy that answers everything."""
    with pytest.raises(UnreachableError, match="something else"):
        as_metrics(text)
