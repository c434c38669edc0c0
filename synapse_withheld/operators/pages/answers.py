"""What the pages tell, as JSON; described in `docs/openapi.yaml`.

Times are in milliseconds since 1970, as everywhere in Matrix.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable

import attrs

from synapse_withheld.config import Config
from synapse_withheld.operators import series as named
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.share import collapsed_share
from synapse_withheld.operators.tally import STEP_S, Count, Tally
from synapse_withheld.operators.wording import WHAT_FAILED, WHY
from synapse_withheld.rules.decision import COLLAPSE, DELIVER, SUPERSEDE, Decision
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.version import VERSION

# What the sweep counts for each rule.
_SWEPT = {
    "notices": named.SWEEP_NOTICES,
    "deleted": named.SWEEP_DELETED,
    "deleted_bytes": named.SWEEP_DELETED_BYTES,
}


@attrs.frozen
class Answers:
    """Everything that is told about one process.

    Attributes:
        process: Its name among those of the homeserver.
        synapse: The version of Synapse.
        started_ts: When counting began.
        sweeps: Whether the sweep in the background is this process's.
    """

    server_name: str
    process: str
    synapse: str
    started_ts: int
    now_ts: Callable[[], int]
    config: Config
    metrics: Metrics
    tally: Tally
    sweeps: bool

    def status(self) -> dict[str, Any]:
        done = self._decisions()
        times = Counter[str]()
        for _, decided, count in done:
            times[decided.action] += count
        return {
            "version": VERSION,
            "synapse": self.synapse,
            "server_name": self.server_name,
            "process": self.process,
            "state": self._state(),
            "config": {
                "mode": self.config.mode,
                "repeat": self.config.repeat,
                "merge_scopes": self.config.merge_scopes,
                "outbox": self.config.outbox,
                "rules": [rule.name for rule in Ruleset.of(self.config).rules],
            },
            **self._times(),
            "notices": sum(times.values()),
            "delivered": times[DELIVER],
            "superseded": times[SUPERSEDE],
            "collapsed": times[COLLAPSE],
            "collapsed_share": collapsed_share(
                (labels["rule"], decided, count) for labels, decided, count in done
            ),
            "collapsed_bytes": self._total(named.COLLAPSED_BYTES),
            "tidied_rows": self._total(named.TIDIED),
            "reasons": [
                {**labels, "why": WHY[decided], "count": count}
                for labels, decided, count in done
            ],
            "tracked": self._tracked(),
            "last_hour": self._last_hour(),
            "failures": self._failures(),
            "sweep": self._sweep(),
        }

    def top(self, limit: int) -> dict[str, Any]:
        """Tell who sends and receives the most notices, so many of each."""
        senders, recipients = self.tally.senders, self.tally.recipients
        return {
            **self._times(),
            "notices": senders.total,
            "capacity": senders.capacity,
            "senders": [
                {"user_id": each.key[1], **_counted(each)}
                for each in senders.most(limit)
            ],
            "recipients": [
                {**dict(zip(("user_id", "device_id"), each.key[1])), **_counted(each)}
                for each in recipients.most(limit)
            ],
        }

    def _times(self) -> dict[str, int]:
        return {"started_ts": self.started_ts, "now_ts": self.now_ts()}

    def _state(self) -> str:
        if not self._total(named.ACTIVE):
            return "resting"
        return "acting" if self.config.enforces else "observing"

    def _decisions(self) -> list[tuple[dict[str, str], Decision, int]]:
        """Return labels, decision and count, the highest count first."""
        found = [
            (labels, Decision(labels["decision"], labels["reason"]), int(value))
            for labels, value in self.metrics.read(named.DECISIONS)
            if value
        ]
        return sorted(found, key=lambda each: each[2], reverse=True)

    def _tracked(self) -> dict[str, int]:
        return {
            "pairs": self._total(named.TRACKED_PAIRS),
            # There is a memory for each of the two queues.
            "most_pairs": 2 * self.config.max_pairs,
            "mailboxes": self._total(named.TRACKED_MAILBOXES),
        }

    def _last_hour(self) -> dict[str, Any]:
        history = self.tally.history
        return {
            "step_ms": STEP_S * 1000,
            "from_ts": self.now_ts() - round(history.began_s() * 1000),
            **{each: history.of(each) for each in (DELIVER, SUPERSEDE, COLLAPSE)},
        }

    def _failures(self) -> list[dict[str, Any]]:
        last_s = self._by("stage", named.LAST_FAILURE)
        return [
            {
                "stage": stage,
                "count": int(count),
                "last_ts": round(last_s.get(stage, 0) * 1000) or None,
                "meaning": WHAT_FAILED[stage],
            }
            for stage, count in self._by("stage", named.FAILURES).items()
        ]

    def _sweep(self) -> dict[str, Any] | None:
        if not self.sweeps:
            return None
        rules: dict[str, dict[str, Any]] = {}
        for name, metric in _SWEPT.items():
            for rule, count in self._by("rule", metric).items():
                rules.setdefault(rule, {"rule": rule})[name] = int(count)
        positions = [value for _, value in self.metrics.read(named.SWEEP_POSITION)]
        return {
            "done": bool(self._total(named.SWEEP_DONE)),
            "position": sum(positions),
            "rows": self._total(named.SWEEP_ROWS),
            **{name: self._total(metric) for name, metric in _SWEPT.items()},
            "rules": [rules[rule] for rule in sorted(rules)],
        }

    def _by(self, label: str, metric: Any) -> dict[str, float]:
        return {labels[label]: value for labels, value in self.metrics.read(metric)}

    def _total(self, metric: Any) -> int:
        return int(sum(value for _, value in self.metrics.read(metric)))


def _counted(count: Count) -> dict[str, Any]:
    return {"rule": count.key[0], "notices": count.occurred, "error": count.error}
