"""Rows that anybody may have sent, and that neither sweep nor survey stumbles over."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synapse_withheld.config import Config
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.kinds import UNREADABLE
from synapse_withheld.sweep.survey import ALL_RULES
from synapse_withheld.sweep.walk import Options, Sweep
from tests.store.conftest import Connection
from tests.store.test_survey import finished, survey_of
from tests.store.test_sweep import backlog_of, fill, finish

SENDER = "@s:hs"


def request(**content: Any) -> dict[str, Any]:
    return {"type": "m.key.verification.request", "sender": SENDER, "content": content}


@pytest.mark.parametrize("device", ["\0", "\ud800", "D"])
def test_a_request_from_a_device_of_any_name_is_swept(
    database: Connection, device: str
) -> None:
    message = request(transaction_id="T", from_device=device)
    fill(database, {("@r:hs", "R", 1): json.dumps(message)})
    sweep = Sweep(
        backlog_of(database), Options(rules=Ruleset.of(Config(rules=ALL_RULES)))
    )
    finish(sweep)
    assert sweep.progress.total.notices == 1


@pytest.mark.parametrize("odd", ['"' + "a" * 9_000, "\\" * 9_000, "\ud800" * 9_000])
def test_a_message_of_any_type_is_surveyed(database: Connection, odd: str) -> None:
    """Of a long row beginning and end are read, and the type may be cut."""
    message = {"content": {}, "type": odd, "sender": SENDER}
    fill(database, {("@r:hs", "R", 1): json.dumps(message, separators=(",", ":"))})
    ((kind, sums),) = finished(survey_of(database)).inbox.kinds.most_frequent()
    assert kind == UNREADABLE or odd.startswith(kind.type)
    assert sums.rows == 1
