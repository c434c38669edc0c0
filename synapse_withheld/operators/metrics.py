"""Count for one homeserver, and tell what lives elsewhere."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import Any, Callable, Collection, Iterable

from prometheus_client import REGISTRY, Counter, Gauge

from synapse_withheld.operators import series
from synapse_withheld.operators.series import SERVER_NAME_LABEL
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.decision import Decision


class Metrics:
    def __init__(self, server_name: str) -> None:
        self._server = {SERVER_NAME_LABEL: server_name} if SERVER_NAME_LABEL else {}
        for stage in series.STAGES:
            # Present from the start, so that a rate sees the first failure.
            self._of(series.FAILURES, stage=stage)
            self._of(series.LAST_FAILURE, stage=stage).set(0)
        # In seconds: how long it took to look a batch up in memory, and how long one
        # waited for the database.
        self.decided_in = self._of(series.DECISION_SECONDS).observe
        self.confirmed_in = self._of(series.CONFIRM_SECONDS).observe

    def begin(self, rules: Iterable[str], queues: Collection[str]) -> None:
        """Say 0 of all that this process may count from now on.

        What appears with its first burst has not risen, to `rate` and `increase`.
        """
        for code, source in product(series.CODES, series.SOURCES):
            self.message(code, source, 0)
        for direction in series.DIRECTIONS:
            self.rearmed(direction, 0)
        for queue in queues:
            self.collapsed_bytes(queue, 0)
            self.tidied(queue, 0)
        for rule, queue, each in product(rules, queues, decisions.ALL):
            self.decision(rule, queue, each, 0)

    def message(self, code: str, source: str, times: int = 1) -> None:
        self._of(series.MESSAGES, code=code, source=source).inc(times)

    def decision(
        self, rule: str, queue: str, decision: Decision, times: int = 1
    ) -> None:
        why = {"decision": decision.action, "reason": decision.reason}
        self._of(series.DECISIONS, rule=rule, queue=queue, **why).inc(times)

    def collapsed_bytes(self, queue: str, size: int) -> None:
        self._of(series.COLLAPSED_BYTES, queue=queue).inc(size)

    def rearmed(self, direction: str, pairs: int) -> None:
        self._of(series.REARMED, direction=direction).inc(pairs)

    def tidied(self, queue: str, rows: int) -> None:
        self._of(series.TIDIED, queue=queue).inc(rows)

    def failure(self, stage: str) -> None:
        self._of(series.FAILURES, stage=stage).inc()
        self._of(series.LAST_FAILURE, stage=stage).set_to_current_time()

    def sweep_begins(self, rules: Iterable[str]) -> None:
        """Tell that nothing was done yet; a rate sees the first then."""
        # An earlier sweep was told already.
        with suppress(ValueError):
            REGISTRY.register(series.SWEEP)
        for rule in rules:
            self.swept_of_rule(rule, 0, 0, 0)
        self.sweep_at(0.0, done=False)

    def swept(self, rows: int) -> None:
        self._of(series.SWEEP_ROWS).inc(rows)

    def swept_of_rule(self, rule: str, notices: int, deleted: int, size: int) -> None:
        self._of(series.SWEEP_NOTICES, rule=rule).inc(notices)
        self._of(series.SWEEP_DELETED, rule=rule).inc(deleted)
        self._of(series.SWEEP_DELETED_BYTES, rule=rule).inc(size)

    def sweep_at(self, position: float, *, done: bool) -> None:
        self._of(series.SWEEP_POSITION).set(position)
        self._of(series.SWEEP_DONE).set(done)

    def watch(self, gauge: Gauge, read: Callable[[], int], **labels: str) -> None:
        """Read a gauge from where its value lives, at each scrape."""
        self._of(gauge, **labels).set_function(read)

    def info(self, version: str, mode: str, repeat: str) -> None:
        self._of(series.INFO, version=version, mode=mode, repeat=repeat).set(1)

    def read(self, metric: Counter | Gauge) -> list[tuple[dict[str, str], float]]:
        """Return what a metric says of this homeserver: labels and value of each."""
        server = self._server.items()
        return [
            (dict(sample.labels.items() - server), sample.value)
            for family in metric.collect()
            for sample in family.samples
            if sample.labels.items() >= server and not sample.name.endswith("_created")
        ]

    def _of(self, metric: Any, **labels: str) -> Any:
        """Return the child of a metric; without any label it is its own."""
        labels.update(self._server)
        return metric.labels(**labels) if labels else metric
