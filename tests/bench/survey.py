"""How long a survey takes beside the plain SQL that it replaces, and what memory."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.bench.instruments.commands import MAILBOX, fill, flat, weighed
from tests.bench.instruments.synapses import STOCK, Lane, one_lane
from tests.bench.report import Findings, Table, Target, say
from tests.bench.sizes import Sizes
from tests.harness.backlog import other, text_of
from tests.harness.messages import ENCRYPTED, MEGOLM, WITHHELD, make_notice
from tests.harness.messages import make_olm_lookalike as make_olm
from tests.model.client import KEY_REQUEST, TRACING

# At most so many times as long as the statement.
MOST = 4.0
ROUNDS = 3

# What everybody writes first.
_PLAIN = """
    SELECT COUNT(*), SUM(LENGTH(message_json)), message_json::json->>'type' AS type
    FROM device_inbox GROUP BY type
"""
# In the middle of these the survey is divided.
_FILL_DEVICES = """
    INSERT INTO devices (user_id, device_id, hidden)
    SELECT DISTINCT user_id, device_id, FALSE FROM device_inbox
"""
_SENDER = "@sDIGIT:hs"
# Clients put another one into each.
_TRACED = {TRACING: "trace NUMBER"}
_SESSION = {"room_id": "!room:hs", "session_id": "session NUMBER"}
_REQUEST = {
    "action": "request",
    "request_id": "NUMBER",
    "requesting_device_id": "DEVICE",
    "body": {"algorithm": MEGOLM, "sender_key": "key", **_SESSION},
}
# Half of the rows are named by a rule, all of them different in something.
_TEXTS = [
    *[text_of(_SENDER, ENCRYPTED, {**make_olm("k", "k", "x" * 600), **_TRACED})] * 4,
    *[text_of(_SENDER, KEY_REQUEST, {**_REQUEST, **_TRACED})] * 3,
    *[text_of(_SENDER, WITHHELD, make_notice("key DIGIT", "DEVICE", **_TRACED))] * 2,
    other(),
]
_HOW = (
    f"Mailboxes of {MAILBOX:,} rows that came in turns, half of the rows named by one "
    "of the rules. SQL: one statement that counts rows and characters by type, with "
    f"as many processes as PostgreSQL takes for it; best of {ROUNDS}. Survey: "
    "`synapse-withheld survey --pause 0`, from its start to its end."
)
_HEADER = ("rows", "SQL s", "survey s", "survey : SQL", "rows a second", "MB")


async def measure(directory: Path, sizes: Sizes) -> Findings:
    async with one_lane(STOCK, None, directory) as stock:
        return await deferToThread(_measure, stock, sizes)


def _measure(lane: Lane, sizes: Sizes) -> Findings:
    lines, ratios, peaks = [], [], []
    for rows in sizes.backlog:
        say(f"Surveying {rows:,} rows.")
        fill(lane, rows, _TEXTS, in_turns=True)
        lane.homeserver.query("DELETE FROM devices")
        lane.homeserver.query(_FILL_DEVICES)
        lane.homeserver.query("VACUUM ANALYZE devices")
        plain = min(_plain(lane) for _ in range(ROUNDS))
        started = time.perf_counter()
        told, held = weighed(lane, "survey")
        took = time.perf_counter() - started
        assert told["inbox"]["rows"] == rows
        assert told["rules"]["no_olm"]["rows"] > 0
        peaks.append(held)
        ratios.append(took / plain)
        rate, weight = f"{rows / took:,.0f}", f"{held / 1e6:.1f}"
        cells = (f"{plain:.1f}", f"{took:.1f}", f"{ratios[-1]:.1f}", rate, weight)
        lines.append((f"{rows:,}", *cells))
    return [
        Table("Survey", _HEADER, lines, _HOW),
        Target.most("survey: as long as plain SQL, most rows", ratios[-1], MOST),
        flat("survey", peaks),
    ]


def _plain(lane: Lane) -> float:
    started = time.perf_counter()
    lane.homeserver.query(_PLAIN)
    return time.perf_counter() - started
