"""Sweep in the background of a running Synapse, again and again."""

from __future__ import annotations

import logging
from typing import Callable

import attrs
from twisted.internet.defer import DeferredLock

from synapse_withheld.config import Config
from synapse_withheld.database.database import Database
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.runtime import Homeserver, Runtime, database_of
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import PAUSE_S, Options, Sweep

logger = logging.getLogger(__name__)

# After so many failures in a row a sweep gives up; it rests so long after each, in
# seconds.
MOST_FAILURES = 5
REST_AFTER_FAILURE_S = 60.0

# When a statement is cancelled, in seconds: one that waits for a slow disk comes back,
# one that hangs would keep Synapse from ending.
CANCEL_AFTER_S = 60.0


def start(
    config: Config,
    synapse: Homeserver,
    metrics: Metrics,
    turn: DeferredLock | None = None,
) -> None:
    """Begin to tidy the backlog in the background, if the configuration says so.

    `turn` is as of `BackgroundSweep`; `None` where this process does nothing else in
    the background.
    """
    if config.sweep_every_ms is None:
        return
    runtime = synapse.runtime()
    backlog = database_of(synapse, CANCEL_AFTER_S)

    def new_sweep() -> Sweep:
        rules, now_ts = Ruleset.of(config), runtime.now_ts()
        options = Options(rules=rules, dry_run=not config.enforces, now_ts=now_ts)
        return Sweep(backlog, options)

    background = BackgroundSweep(
        backlog, new_sweep, metrics, runtime, turn or DeferredLock()
    )
    every_s = config.sweep_every_ms / 1000
    runtime.as_process("withheld_sweep", background.run, every_s)


@attrs.define
class BackgroundSweep:
    """Sweeps one after the other, with pauses and metrics.

    Attributes:
        turn: Held by who asks the database in the background at the moment.
    """

    backlog: Database
    new_sweep: Callable[[], Sweep]
    metrics: Metrics
    runtime: Runtime
    turn: DeferredLock = attrs.Factory(DeferredLock)

    async def run(self, every_s: float) -> None:
        """Sweep as long as Synapse runs; must not raise, as nobody waits for it.

        The next sweep begins so many seconds after the last began, or at once.
        """
        while True:
            began_s = self.runtime.seconds()
            await self.sweep_once()
            took_s = self.runtime.seconds() - began_s
            await self.runtime.sleep(max(PAUSE_S, every_s - took_s))

    async def sweep_once(self) -> None:
        sweep = self.new_sweep()
        self.metrics.sweep_begins(sweep.rules)
        noted = Failures(self.metrics, self.runtime.seconds)
        rows: int | None = None
        failures = 0
        while not sweep.progress.done and failures < MOST_FAILURES:
            await self.runtime.yieldable(self.turn.acquire())
            try:
                if rows is None:
                    rows = await self.backlog.estimate()
                await sweep.step()
                self._tell(sweep, rows)
                failures, rest_s = 0, PAUSE_S
            except Exception as error:  # noqa: BLE001 nothing of ours may go further
                failures, rest_s = failures + 1, REST_AFTER_FAILURE_S
                noted.note("sweep", error)
            finally:
                with self.runtime.outside_any_log_context():
                    self.turn.release()
            await self.runtime.sleep(rest_s)
        progress = sweep.progress
        logger.info(
            "synapse_withheld: the sweep %s: %d rows looked at, %d notices, "
            "%d of them redundant, %d deleted",
            "is done" if progress.done else "gave up",
            progress.rows,
            progress.total.notices,
            progress.total.redundant,
            progress.total.deleted,
        )

    def _tell(self, sweep: Sweep, rows: int) -> None:
        done = sweep.latest
        self.metrics.swept(done.rows)
        for rule, counts in done.rules.items():
            size = counts.bytes if counts.deleted else 0
            self.metrics.swept_of_rule(rule, counts.notices, counts.deleted, size)
        position = sweep.progress.rows / rows if rows else 0.0
        position = 1.0 if done.done else min(1.0, position)
        self.metrics.sweep_at(position, done=done.done)
