"""What processes tell, added up and shown."""

from __future__ import annotations

import re

import pytest

from synapse_withheld.cli.commands.status import in_text
from synapse_withheld.cli.shared.homeserver.fetching import UnreachableError
from synapse_withheld.cli.shared.homeserver.metrics_page import (
    Page,
    add_up,
    as_metrics,
    parse,
)

DECIDED = 'synapse_withheld_decisions_total{decision="collapse",queue="inbox"'
WRITER = f"""\
# TYPE synapse_withheld_decisions_total counter
{DECIDED},reason="duplicate",rule="no_olm"}} 5.0
{DECIDED.replace("inbox", "outbox")},reason="duplicate",rule="no_olm"}} 1.0
# TYPE synapse_withheld_collapsed_bytes_total counter
synapse_withheld_collapsed_bytes_total{{queue="inbox"}} 1200.0
# TYPE synapse_withheld_info gauge
synapse_withheld_info{{mode="enforce",repeat="queued",version="0.1.0"}} 1.0
"""
OTHER = """\
# TYPE synapse_withheld_info gauge
synapse_withheld_info{mode="observe",repeat="queued",version="0.1.0"} 1.0
"""


# The numbers of a real Synapse are added up in the end-to-end tests.
@pytest.mark.parametrize(
    ("pages", "lines"),
    [
        ([WRITER], {"share collapsed": "100.0%", "bytes saved": "1,200"}),
        ([OTHER], {"would have collapsed": "0", "share of these": "-"}),
        # Where something else runs too, the numbers are of both.
        ([WRITER, OTHER], {"mode": "enforce, observe", "collapsed": "6"}),
    ],
)
def test_in_observe_mode_the_table_says_would_have(
    pages: list[str], lines: dict[str, str]
) -> None:
    table = in_text(add_up(map(parse, pages)))
    split = [re.split(r"  +", line.strip()) for line in table.splitlines()]
    assert lines.items() <= dict(split).items()
    assert ("would" in table) == (pages == [OTHER])


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
