"""What the pages tell, as JSON; described in `docs/openapi.yaml`.

Times are in milliseconds since 1970, as everywhere in Matrix.
"""

from __future__ import annotations

from typing import Any, Callable

import attrs

from synapse_withheld.config import Config
from synapse_withheld.operators import series as named
from synapse_withheld.operators.heavy_hitters import Count
from synapse_withheld.operators.history import STEP_S
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.share import collapsed_share
from synapse_withheld.operators.tally import Tally
from synapse_withheld.operators.wording import WHAT_FAILED, WHY
from synapse_withheld.rules.decision import COLLAPSE, DELIVER, SUPERSEDE, Decision
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.version import VERSION


@attrs.frozen
class Process:
    """The process that answers.

    Attributes:
        server_name: The homeserver's name.
        name: The process's name among those of the homeserver.
        synapse: The version of Synapse.
        started_ts: When counting began.
        now_ts: A clock.
    """

    server_name: str
    name: str
    synapse: str
    started_ts: int
    now_ts: Callable[[], int]


@attrs.frozen
class Answers:
    """Everything that is told about one process.

    Attributes:
        sweeps: Whether the sweep in the background is this process's.
    """

    process: Process
    config: Config
    metrics: Metrics
    tally: Tally
    sweeps: bool

    def status(self) -> dict[str, Any]:
        """Tell what the module is doing here, and did."""
        done = self._decisions()
        return {
            "version": VERSION,
            "synapse": self.process.synapse,
            "server_name": self.process.server_name,
            "process": self.process.name,
            "state": self._state(),
            "config": {
                "mode": self.config.mode,
                "repeat": self.config.repeat,
                "merge_scopes": self.config.merge_scopes,
                "outbox": self.config.outbox,
                "rules": [rule.name for rule in Ruleset.of(self.config).rules],
            },
            **self._times(),
            "notices": sum(each["count"] for each in done),
            "delivered": _count(done, DELIVER),
            "superseded": _count(done, SUPERSEDE),
            "collapsed": _count(done, COLLAPSE),
            "collapsed_share": _share(done),
            "collapsed_bytes": self._total(named.COLLAPSED_BYTES),
            "tidied_rows": self._total(named.TIDIED),
            "reasons": done,
            "tracked": self._tracked(),
            "last_hour": self._last_hour(),
            "failures": self._failures(),
            "sweep": self._sweep(),
        }

    def top(self, limit: int) -> dict[str, Any]:
        """Tell who sends and receives the most notices.

        Args:
            limit: How many of each.
        """
        senders = self.tally.senders
        return {
            **self._times(),
            "notices": senders.total,
            "capacity": senders.capacity,
            "senders": [
                {"user_id": each.key[1], **_counted(each)}
                for each in senders.most(limit)
            ],
            "recipients": [
                {
                    "user_id": each.key[1][0],
                    "device_id": each.key[1][1],
                    **_counted(each),
                }
                for each in self.tally.recipients.most(limit)
            ],
        }

    def _times(self) -> dict[str, int]:
        now_ts = self.process.now_ts()
        return {"started_ts": self.process.started_ts, "now_ts": now_ts}

    def _state(self) -> str:
        if not self._total(named.ACTIVE):
            return "resting"
        return "acting" if self.config.enforces else "observing"

    def _decisions(self) -> list[dict[str, Any]]:
        found = [
            {
                **labels,
                "why": WHY[Decision(labels["decision"], labels["reason"])],
                "count": int(value),
            }
            for labels, value in self.metrics.read(named.DECISIONS)
            if value
        ]
        return sorted(found, key=lambda each: int(each["count"]), reverse=True)

    def _tracked(self) -> dict[str, int]:
        # There is an index for each of the queues.
        queues = 2
        return {
            "pairs": self._total(named.TRACKED_PAIRS),
            "most_pairs": queues * self.config.max_pairs,
            "mailboxes": self._total(named.TRACKED_MAILBOXES),
        }

    def _last_hour(self) -> dict[str, Any]:
        history = self.tally.history
        return {
            "step_ms": STEP_S * 1000,
            "from_ts": self.process.now_ts() - round(history.began_s() * 1000),
            **{each: history.of(each) for each in (DELIVER, SUPERSEDE, COLLAPSE)},
        }

    def _failures(self) -> list[dict[str, Any]]:
        last_ts = {
            labels["stage"]: round(value * 1000) or None
            for labels, value in self.metrics.read(named.LAST_FAILURE)
        }
        return [
            {
                "stage": labels["stage"],
                "count": int(value),
                "last_ts": last_ts.get(labels["stage"]),
                "meaning": WHAT_FAILED[labels["stage"]],
            }
            for labels, value in self.metrics.read(named.FAILURES)
        ]

    def _sweep(self) -> dict[str, Any] | None:
        if not self.sweeps:
            return None
        return {
            "done": bool(self._total(named.SWEEP_DONE)),
            "position": sum(
                value for _, value in self.metrics.read(named.SWEEP_POSITION)
            ),
            "rows": self._total(named.SWEEP_ROWS),
            "notices": self._total(named.SWEEP_NOTICES),
            "deleted": self._total(named.SWEEP_DELETED),
            "deleted_bytes": self._total(named.SWEEP_DELETED_BYTES),
            "rules": self._swept_rules(),
        }

    def _swept_rules(self) -> list[dict[str, Any]]:
        notices, deleted, size = (
            {labels["rule"]: int(value) for labels, value in self.metrics.read(metric)}
            for metric in (
                named.SWEEP_NOTICES,
                named.SWEEP_DELETED,
                named.SWEEP_DELETED_BYTES,
            )
        )
        return [
            {
                "rule": rule,
                "notices": notices[rule],
                "deleted": deleted[rule],
                "deleted_bytes": size[rule],
            }
            for rule in sorted(notices)
        ]

    def _total(self, metric: Any) -> int:
        return int(sum(value for _, value in self.metrics.read(metric)))


def _counted(count: Count[tuple[str, Any]]) -> dict[str, Any]:
    rule, _ = count.key
    return {"rule": rule, "notices": count.occurred, "error": count.error}


def _share(decisions: list[dict[str, Any]]) -> float | None:
    return collapsed_share(
        (each["rule"], Decision(each["decision"], each["reason"]), each["count"])
        for each in decisions
    )


def _count(decisions: list[dict[str, Any]], action: str) -> int:
    return sum(each["count"] for each in decisions if each["decision"] == action)
