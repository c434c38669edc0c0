"""How long a survey takes beside the plain SQL that it replaces, and what memory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

from twisted.internet.threads import deferToThread

from tests.bench.instruments.lanes import STOCK
from tests.bench.report import Findings, Table, Target
from tests.bench.sizes import Sizes
from tests.bench.sweep.place import MAILBOX, Place, flat, places

# At most so many times as long as the statement.
MOST = 4.0
ROUNDS = 3

# What everybody writes first.
_PLAIN = """
    SELECT COUNT(*), SUM(LENGTH(message_json)), message_json::json->>'type' AS type
    FROM device_inbox GROUP BY type
"""

# Half of the rows are named by a rule, all of them different in something: clients put
# a new `org.matrix.msgid` into each.
_FILL = """
    INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
    SELECT '@' || LPAD(CAST(MOD(n, ?) AS TEXT), 6, '0') || ':hs', 'DEVICE', n,
        '{"content":{' ||
        CASE
        WHEN MOD(n / ?, 10) < 4 THEN '"algorithm":"m.olm.v1.curve25519-aes-sha2",'
            || '"ciphertext":{"key":{"body":"' || REPEAT('x', 600) || '","type":0}},'
            || '"org.matrix.msgid":"' || MD5(CAST(n AS TEXT)) || '",'
            || '"sender_key":"key"},"type":"m.room.encrypted"'
        WHEN MOD(n / ?, 10) < 7 THEN '"action":"request",'
            || '"body":{"algorithm":"m.megolm.v1.aes-sha2","room_id":"!room:hs",'
            || '"sender_key":"key","session_id":"' || MD5(CAST(n AS TEXT)) || '"},'
            || '"org.matrix.msgid":"' || MD5(CAST(n AS TEXT)) || '",'
            || '"request_id":"' || n || '","requesting_device_id":"DEVICE"},'
            || '"type":"m.room_key_request"'
        WHEN MOD(n / ?, 10) < 9 THEN '"algorithm":"m.megolm.v1.aes-sha2",'
            || '"code":"m.no_olm","from_device":"DEVICE",'
            || '"org.matrix.msgid":"' || MD5(CAST(n AS TEXT)) || '",'
            || '"reason":"Unable to establish a secure channel.",'
            || '"sender_key":"' || MD5(CAST(MOD(n, 97) AS TEXT)) || '"},'
            || '"type":"m.room_key.withheld"'
        ELSE '"body":"hello"},"type":"m.dummy"'
        END || ',"sender":"@s' || MOD(n, 97) || ':hs"}'
    FROM generate_series(1, ?) AS n
"""
# In the middle of these the survey is divided.
_FILL_DEVICES = """
    INSERT INTO devices (user_id, device_id, hidden)
    SELECT DISTINCT user_id, device_id, FALSE FROM device_inbox
"""
_HOW = (
    f"mailboxes of {MAILBOX:,} rows that came in turns, half of the rows named by one "
    "of the rules. SQL: one statement that counts rows and characters by type, with "
    "as many processes as PostgreSQL takes for it; best of {rounds}. Survey: "
    "`synapse-withheld survey --pause 0`, from its start to its end."
)
_HEADER = ("rows", "SQL s", "survey s", "survey : SQL", "rows a second", "MB")


async def measure(
    directory: Path, sizes: Sizes, say: Callable[[str], None]
) -> Findings:
    """Measure on a new database."""
    directory.mkdir()
    async with places(directory) as made:
        stock = await made(STOCK, None)
        return await deferToThread(_measure, stock, sizes, say)


def _measure(place: Place, sizes: Sizes, say: Callable[[str], None]) -> Findings:
    lines, ratios, peaks = [], [], []
    for rows in sizes.backlog:
        say(f"Surveying {rows:,} rows.")
        mailboxes = max(1, rows // MAILBOX)
        place.fill_by(_FILL, (*[mailboxes] * 4, rows))
        place.homeserver.query("DELETE FROM devices")
        place.homeserver.query(_FILL_DEVICES)
        place.homeserver.query("VACUUM ANALYZE devices")
        plain = min(_plain(place) for _ in range(ROUNDS))
        started = time.perf_counter()
        told, held = place.weighed("survey")
        took = time.perf_counter() - started
        assert told["inbox"]["rows"] == rows
        assert told["rules"]["no_olm"]["rows"] > 0
        peaks.append(held)
        ratios.append(took / plain)
        rate, weight = f"{rows / took:,.0f}", f"{held / 1e6:.1f}"
        cells = (f"{plain:.1f}", f"{took:.1f}", f"{ratios[-1]:.1f}", rate, weight)
        lines.append((f"{rows:,}", *cells))
    notes = [_HOW.format(rounds=ROUNDS)]
    longest = Target(
        "survey: as long as plain SQL, most rows",
        f"≤ {MOST}",
        f"{ratios[-1]:.2f}",
        ratios[-1] <= MOST,
        binding=False,
    )
    return Findings(
        [Table("Survey", _HEADER, lines, notes)], [longest, flat("survey", peaks)]
    )


def _plain(place: Place) -> float:
    """Return how long the statement takes, in seconds."""
    started = time.perf_counter()
    place.homeserver.query(_PLAIN)
    return time.perf_counter() - started
