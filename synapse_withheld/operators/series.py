"""Every metric, on Synapse's own metrics listener; `docs/metrics.md` says more of each.

No label ever holds a user, a device or a room.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from synapse_withheld.rules.content import MALFORMED, NO_OLM, OTHER, SESSION_CODES

try:
    from synapse.metrics import SERVER_NAME_LABEL as _LABEL
except ImportError:  # Synapse before 1.135 has no such label.
    _LABEL = ""

SERVER_NAME_LABEL: str = _LABEL

_SERVER = [SERVER_NAME_LABEL] if SERVER_NAME_LABEL else []

MESSAGES = Counter(
    "synapse_withheld_messages_total",
    "Withheld messages that reached this process, by code and source",
    [*_SERVER, "code", "source"],
)
DECISIONS = Counter(
    "synapse_withheld_decisions_total",
    "What was, or in observe mode would have been, done with messages, and why",
    [*_SERVER, "decision", "queue", "reason", "rule"],
)
COLLAPSED_BYTES = Counter(
    "synapse_withheld_collapsed_bytes_total",
    "Bytes of JSON that were not stored; in observe mode, that would not have been",
    [*_SERVER, "queue"],
)
REARMED = Counter(
    "synapse_withheld_rearmed_total",
    "Pairs whose next notice is new again because of an Olm message, by its direction",
    [*_SERVER, "direction"],
)
TIDIED = Counter(
    "synapse_withheld_tidied_rows_total",
    "Rows deleted because they were redundant; none in observe mode",
    [*_SERVER, "queue"],
)
DECISION_SECONDS = Histogram(
    "synapse_withheld_decision_seconds",
    "Time that it took to look a batch of notices up in memory",
    _SERVER,
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1),
)
CONFIRM_SECONDS = Histogram(
    "synapse_withheld_confirm_seconds",
    "Time that batches waited for the database; in observe mode, would have waited",
    _SERVER,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
HOUSEKEEPING_QUEUE = Gauge(
    "synapse_withheld_housekeeping_queue",
    "What waits to be done in the background: mailboxes to learn, rows to tidy",
    [*_SERVER, "work"],
)
FAILURES = Counter(
    "synapse_withheld_failures_total",
    "Failures of the module, by stage; the messages concerned were stored",
    [*_SERVER, "stage"],
)
LAST_FAILURE = Gauge(
    "synapse_withheld_last_failure_timestamp_seconds",
    "When the module failed last, by stage, in seconds since 1970; 0 for never",
    [*_SERVER, "stage"],
)
TRACKED_PAIRS = Gauge(
    "synapse_withheld_tracked_pairs",
    "Pairs of sender device and recipient device that are remembered",
    _SERVER,
)
TRACKED_MAILBOXES = Gauge(
    "synapse_withheld_tracked_mailboxes",
    "Mailboxes that are remembered",
    _SERVER,
)
ACTIVE = Gauge(
    "synapse_withheld_active",
    "1 where this process acts on to-device messages, 0 where everything is stored",
    _SERVER,
)
INFO = Gauge(
    "synapse_withheld_info",
    "Always 1; the labels tell the module's version and configuration",
    [*_SERVER, "version", "mode", "repeat"],
)
# Nothing is told of sweeps in a process that has none: registered when one begins.
SWEEP = CollectorRegistry()
SWEEP_ROWS = Counter(
    "synapse_withheld_sweep_rows_total",
    "Rows of the mailboxes that the sweep in the background looked at",
    _SERVER,
    registry=SWEEP,
)
SWEEP_NOTICES = Counter(
    "synapse_withheld_sweep_notices_total",
    "Notices that the sweep in the background found",
    [*_SERVER, "rule"],
    registry=SWEEP,
)
SWEEP_DELETED = Counter(
    "synapse_withheld_sweep_deleted_total",
    "Notices that the sweep in the background deleted; none in observe mode",
    [*_SERVER, "rule"],
    registry=SWEEP,
)
SWEEP_DELETED_BYTES = Counter(
    "synapse_withheld_sweep_deleted_bytes_total",
    "Bytes of JSON that the sweep in the background deleted; none in observe mode",
    [*_SERVER, "rule"],
    registry=SWEEP,
)
SWEEP_POSITION = Gauge(
    "synapse_withheld_sweep_position",
    "How far the sweep in the background is, about, from 0 to 1",
    _SERVER,
    registry=SWEEP,
)
SWEEP_DONE = Gauge(
    "synapse_withheld_sweep_done",
    "1 where the last sweep in the background is done, 0 where one runs or gave up",
    _SERVER,
    registry=SWEEP,
)

STAGES = ("decide", "statement", "record", "rearm", "tidy", "sweep")

CODES = (NO_OLM, *SESSION_CODES, OTHER, MALFORMED)
SOURCES = ("local", "federation")
DIRECTIONS = ("to_recipient", "to_sender")
