"""Every metric, on Synapse's own metrics listener.

No label ever holds a user, a device or a room.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable

from prometheus_client import Counter, Gauge, Histogram

from synapse_withheld.rules.decision import Decision

try:
    from synapse.metrics import SERVER_NAME_LABEL as _LABEL
except ImportError:  # Synapse before 1.135 has no such label.
    _LABEL = ""

SERVER_NAME_LABEL: str = _LABEL

_SERVER = [SERVER_NAME_LABEL] if SERVER_NAME_LABEL else []

MESSAGES = Counter(
    "synapse_withheld_messages_total",
    "Withheld messages that reached this process, by their code and where they "
    "came from (local: a client of this server; federation: another server)",
    [*_SERVER, "code", "source"],
)
DECISIONS = Counter(
    "synapse_withheld_decisions_total",
    "Messages that a rule names by what was done with them (deliver: stored; "
    "collapse: not stored, a queued one already says it; supersede: stored, the "
    "queued one deleted) and why; in observe mode, what would have been done",
    [*_SERVER, "decision", "queue", "reason", "rule"],
)
COLLAPSED_BYTES = Counter(
    "synapse_withheld_collapsed_bytes_total",
    "Bytes of message JSON that were not stored because their notices collapsed",
    [*_SERVER, "queue"],
)
REARMED = Counter(
    "synapse_withheld_rearmed_total",
    "Pairs whose next notice is new again because of an Olm message, by its "
    "direction (to_recipient: from the notice's sender; to_sender: the answer)",
    [*_SERVER, "direction"],
)
TIDIED = Counter(
    "synapse_withheld_tidied_rows_total",
    "Remembered rows deleted because a newer notice of their pair is in the mailbox",
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
    "Time that batches with believed duplicates waited for the database to confirm "
    "them, at most a second",
    _SERVER,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
HOUSEKEEPING_QUEUE = Gauge(
    "synapse_withheld_housekeeping_queue",
    "What waits to be done in the background (learn: mailboxes to look into; tidy: "
    "redundant rows to delete)",
    [*_SERVER, "work"],
)
FAILURES = Counter(
    "synapse_withheld_failures_total",
    "Failures of the module, by stage; the messages concerned were stored as "
    "Synapse without the module would have",
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
    "1 where this process acts on to-device messages; 0 where it does not: it is "
    "not the writer, this Synapse is unknown to the module, or the database is slow "
    "or failed just now and everything is stored",
    _SERVER,
)
INFO = Gauge(
    "synapse_withheld_info",
    "Always 1; the labels tell the module's version and configuration",
    [*_SERVER, "version", "mode", "repeat"],
)
SWEEP_ROWS = Counter(
    "synapse_withheld_sweep_rows_total",
    "Rows of the mailboxes that the sweep in the background looked at",
    _SERVER,
)
SWEEP_NOTICES = Counter(
    "synapse_withheld_sweep_notices_total",
    "Notices that the sweep in the background found",
    [*_SERVER, "rule"],
)
SWEEP_DELETED = Counter(
    "synapse_withheld_sweep_deleted_total",
    "Notices that the sweep in the background deleted because a later one of the "
    "same mailbox covers them or no client heeds them any more",
    [*_SERVER, "rule"],
)
SWEEP_DELETED_BYTES = Counter(
    "synapse_withheld_sweep_deleted_bytes_total",
    "Bytes of message JSON that the sweep in the background deleted",
    [*_SERVER, "rule"],
)
SWEEP_POSITION = Gauge(
    "synapse_withheld_sweep_position",
    "How far the sweep in the background is, about, from 0 to 1",
    _SERVER,
)
SWEEP_DONE = Gauge(
    "synapse_withheld_sweep_done",
    "0 while the sweep in the background is under way, 1 where it is done or was not "
    "enabled",
    _SERVER,
)

ALL = (
    MESSAGES,
    DECISIONS,
    COLLAPSED_BYTES,
    REARMED,
    TIDIED,
    DECISION_SECONDS,
    CONFIRM_SECONDS,
    HOUSEKEEPING_QUEUE,
    FAILURES,
    LAST_FAILURE,
    TRACKED_PAIRS,
    TRACKED_MAILBOXES,
    ACTIVE,
    INFO,
    SWEEP_ROWS,
    SWEEP_NOTICES,
    SWEEP_DELETED,
    SWEEP_DELETED_BYTES,
    SWEEP_POSITION,
    SWEEP_DONE,
)

STAGES = ("decide", "statement", "record", "rearm", "tidy", "sweep")


class Metrics:
    """The metrics of one homeserver."""

    def __init__(self, server_name: str) -> None:
        self._server = {SERVER_NAME_LABEL: server_name} if SERVER_NAME_LABEL else {}
        for stage in STAGES:
            # Present from the start, so that a rate sees the first failure.
            FAILURES.labels(stage=stage, **self._server)
            LAST_FAILURE.labels(stage=stage, **self._server).set(0)
        self._plain(SWEEP_DONE).set(1)
        self._decision_seconds = self._plain(DECISION_SECONDS)
        self._confirm_seconds = self._plain(CONFIRM_SECONDS)

    def message(self, code: str, source: str, times: int = 1) -> None:
        """Count withheld messages."""
        MESSAGES.labels(code=code, source=source, **self._server).inc(times)

    def decision(
        self, rule: str, queue: str, decision: Decision, times: int = 1
    ) -> None:
        """Count what was done with notices and why."""
        labels = {"decision": decision.action, "reason": decision.reason}
        DECISIONS.labels(rule=rule, queue=queue, **labels, **self._server).inc(times)

    def collapsed_bytes(self, queue: str, size: int) -> None:
        """Count bytes that were not stored."""
        COLLAPSED_BYTES.labels(queue=queue, **self._server).inc(size)

    def rearmed(self, direction: str, pairs: int) -> None:
        """Count pairs that an Olm message re-armed."""
        REARMED.labels(direction=direction, **self._server).inc(pairs)

    def tidied(self, queue: str, rows: int) -> None:
        """Count superseded rows that were deleted."""
        TIDIED.labels(queue=queue, **self._server).inc(rows)

    def decided_in(self, seconds: float) -> None:
        """Note how long it took to look a batch up in memory."""
        self._decision_seconds.observe(seconds)

    def confirmed_in(self, seconds: float) -> None:
        """Note how long a batch waited for the database."""
        self._confirm_seconds.observe(seconds)

    def failure(self, stage: str) -> None:
        """Count a failure of ours."""
        FAILURES.labels(stage=stage, **self._server).inc()
        LAST_FAILURE.labels(stage=stage, **self._server).set_to_current_time()

    def sweep_begins(self, rules: Iterable[str]) -> None:
        """Tell that nothing was done yet; a rate sees the first then."""
        for rule in rules:
            self.swept_of_rule(rule, notices=0, deleted=0, size=0)
        self.sweep_at(0.0, done=False)

    def swept(self, rows: int) -> None:
        """Count rows that the sweep looked at."""
        self._plain(SWEEP_ROWS).inc(rows)

    def swept_of_rule(
        self, rule: str, *, notices: int, deleted: int, size: int
    ) -> None:
        """Count what the sweep did at one batch with the messages of a rule."""
        labels = {"rule": rule, **self._server}
        SWEEP_NOTICES.labels(**labels).inc(notices)
        SWEEP_DELETED.labels(**labels).inc(deleted)
        SWEEP_DELETED_BYTES.labels(**labels).inc(size)

    def sweep_at(self, position: float, *, done: bool) -> None:
        """Tell how far the sweep is, from 0 to 1."""
        self._plain(SWEEP_POSITION).set(position)
        self._plain(SWEEP_DONE).set(done)

    def watch(
        self,
        *,
        pairs: Callable[[], int],
        mailboxes: Callable[[], int],
        active: Callable[[], bool],
        to_learn: Callable[[], int],
        to_tidy: Callable[[], int],
    ) -> None:
        """Read the gauges from where their values live, at each scrape."""
        self._plain(TRACKED_PAIRS).set_function(pairs)
        self._plain(TRACKED_MAILBOXES).set_function(mailboxes)
        self._plain(ACTIVE).set_function(active)
        for work, left in (("learn", to_learn), ("tidy", to_tidy)):
            gauge = HOUSEKEEPING_QUEUE.labels(work=work, **self._server)
            gauge.set_function(left)

    def inactive(self) -> None:
        """Say that this process does not act."""
        self._plain(ACTIVE).set(0)

    def info(self, version: str, mode: str, repeat: str) -> None:
        """Tell the module's version and configuration."""
        labels = {"version": version, "mode": mode, "repeat": repeat}
        INFO.labels(**labels, **self._server).set(1)

    def read(self, metric: Counter | Gauge) -> list[tuple[dict[str, str], float]]:
        """Return what a metric says of this homeserver: labels and value of each."""
        return [
            (
                {
                    key: sample.labels[key]
                    for key in sample.labels.keys() - self._server
                },
                sample.value,
            )
            for family in metric.collect()
            for sample in family.samples
            if sample.labels.items() >= self._server.items()
            and not sample.name.endswith("_created")
        ]

    def _plain(self, metric: Any) -> Any:
        return metric.labels(**self._server) if self._server else metric
