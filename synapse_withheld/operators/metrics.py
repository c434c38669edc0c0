"""Count for one homeserver, and tell what lives elsewhere."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Callable, Iterable

from prometheus_client import REGISTRY, Counter, Gauge

from synapse_withheld.operators.series import (
    ACTIVE,
    CODES,
    COLLAPSED_BYTES,
    CONFIRM_SECONDS,
    DECISION_SECONDS,
    DECISIONS,
    DIRECTIONS,
    FAILURES,
    HOUSEKEEPING_QUEUE,
    INFO,
    LAST_FAILURE,
    MESSAGES,
    REARMED,
    SERVER_NAME_LABEL,
    SOURCES,
    STAGES,
    SWEEP,
    SWEEP_DELETED,
    SWEEP_DELETED_BYTES,
    SWEEP_DONE,
    SWEEP_NOTICES,
    SWEEP_POSITION,
    SWEEP_ROWS,
    TIDIED,
    TRACKED_MAILBOXES,
    TRACKED_PAIRS,
)
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision


class Metrics:
    """The metrics of one homeserver."""

    def __init__(self, server_name: str) -> None:
        self._server = {SERVER_NAME_LABEL: server_name} if SERVER_NAME_LABEL else {}
        for stage in STAGES:
            # Present from the start, so that a rate sees the first failure.
            FAILURES.labels(stage=stage, **self._server)
            LAST_FAILURE.labels(stage=stage, **self._server).set(0)
        self._decision_seconds = self._plain(DECISION_SECONDS)
        self._confirm_seconds = self._plain(CONFIRM_SECONDS)

    def begin(self, rules: Iterable[str], queues: Iterable[str]) -> None:
        """Say 0 of all that this process may count from now on.

        What appears with its first burst has not risen, to `rate` and `increase`.

        Args:
            rules: The names of the rules that are on.
            queues: Those in which notices may collapse.
        """
        for code in CODES:
            for source in SOURCES:
                MESSAGES.labels(code=code, source=source, **self._server)
        for direction in DIRECTIONS:
            REARMED.labels(direction=direction, **self._server)
        rules = list(rules)
        for queue in queues:
            COLLAPSED_BYTES.labels(queue=queue, **self._server)
            TIDIED.labels(queue=queue, **self._server)
            for rule in rules:
                for each in decisions.ALL:
                    self._decided(rule, queue, each)

    def message(self, code: str, source: str, times: int = 1) -> None:
        """Count withheld messages."""
        MESSAGES.labels(code=code, source=source, **self._server).inc(times)

    def decision(
        self, rule: str, queue: str, decision: Decision, times: int = 1
    ) -> None:
        """Count what was done with notices and why."""
        self._decided(rule, queue, decision).inc(times)

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
        for metric in SWEEP:
            # An earlier sweep was told already.
            with suppress(ValueError):
                REGISTRY.register(metric)
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
        # Not `set`, which does nothing once a function was set.
        self._plain(ACTIVE).set_function(lambda: 0)

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

    def _decided(self, rule: str, queue: str, decision: Decision) -> Counter:
        labels = {"decision": decision.action, "reason": decision.reason}
        return DECISIONS.labels(rule=rule, queue=queue, **labels, **self._server)

    def _plain(self, metric: Any) -> Any:
        return metric.labels(**self._server) if self._server else metric
