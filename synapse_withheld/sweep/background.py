"""Sweep in the background of a running Synapse, once."""

from __future__ import annotations

import logging

import attrs
from twisted.internet.defer import DeferredLock

from synapse_withheld.config import Config
from synapse_withheld.database.database import Database
from synapse_withheld.delivery.runtime import Runtime
from synapse_withheld.delivery.surroundings import Surroundings
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Counts, Options, Progress, Sweep

logger = logging.getLogger(__name__)

# After so many failures in a row it gives up; it rests so long after each, in
# seconds.
MOST_FAILURES = 5
REST_AFTER_FAILURE_S = 60.0


def start(
    config: Config,
    synapse: Surroundings,
    metrics: Metrics,
    turn: DeferredLock | None = None,
) -> None:
    """Begin to tidy the backlog in the background.

    Args:
        config: The module's configuration.
        synapse: The homeserver.
        metrics: Where its progress is told.
        turn: Held by who asks the database in the background at the moment; `None`
            where this process has no other work there.
    """
    runtime = synapse.runtime()
    backlog = Database(
        synapse.run_statement,
        synapse.database_driver,
        stream_token=synapse.stream_token,
    )
    options = Options(
        batch_size=config.sweep.batch_size,
        rules=Ruleset.of(config),
        dry_run=not config.enforces,
        now_ts=runtime.now_ts(),
    )
    pause_s = config.sweep.pause_ms / 1000
    sweep = Sweep(backlog, options)
    background = BackgroundSweep(
        backlog, sweep, metrics, pause_s, runtime, turn or DeferredLock()
    )
    runtime.as_process("withheld_sweep", background.run)


@attrs.define
class BackgroundSweep:
    """One sweep, with pauses and metrics.

    Attributes:
        backlog: What it asks of the database.
        sweep: The sweep.
        pause_s: How long it rests after each batch, in seconds.
        runtime: How things run.
        turn: Held by who asks the database in the background at the moment.
    """

    backlog: Database
    sweep: Sweep
    metrics: Metrics
    pause_s: float
    runtime: Runtime
    turn: DeferredLock = attrs.Factory(DeferredLock)

    async def run(self) -> None:
        """Sweep to the end; must not raise, as nobody waits for it."""
        rows = await self._estimate()
        self.metrics.sweep_begins(self.sweep.rules)
        failures = 0
        while not self.sweep.progress.done and failures < MOST_FAILURES:
            before = self.sweep.progress
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 nothing of ours may go further
                failures += 1
                self._note(error)
                await self.runtime.sleep(REST_AFTER_FAILURE_S)
                continue
            failures = 0
            self._tell(before, rows)
            await self.runtime.sleep(self.pause_s)
        self._log()

    async def _step(self) -> None:
        await self.runtime.yieldable(self.turn.acquire())
        try:
            await self.sweep.step()
        finally:
            with self.runtime.outside_any_log_context():
                self.turn.release()

    async def _estimate(self) -> int:
        try:
            return await self.backlog.estimate()
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self._note(error)
            return 0

    def _tell(self, before: Progress, of_about: int) -> None:
        now = self.sweep.progress
        self.metrics.swept(now.rows - before.rows)
        for rule, counts in now.rules.items():
            done = counts - before.rules.get(rule, Counts())
            self.metrics.swept_of_rule(
                rule,
                notices=done.notices,
                deleted=done.deleted,
                size=done.bytes if done.deleted else 0,
            )
        share = min(1.0, now.rows / of_about) if of_about else 0.0
        self.metrics.sweep_at(1.0 if now.done else share, done=now.done)

    def _note(self, error: Exception) -> None:
        self.metrics.failure("sweep")
        logger.error(
            "synapse_withheld: the sweep failed at a batch; nothing but progress is "
            "lost",
            exc_info=(type(error), error, error.__traceback__),
        )

    def _log(self) -> None:
        progress = self.sweep.progress
        total = progress.total
        logger.info(
            "synapse_withheld: the sweep %s: %d rows looked at, %d notices, "
            "%d of them redundant, %d deleted",
            "is done" if progress.done else "gave up",
            progress.rows,
            total.notices,
            total.redundant,
            total.deleted,
        )
