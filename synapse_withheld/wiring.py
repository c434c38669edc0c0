"""Put the parts of the module together."""

from __future__ import annotations

from typing import Callable

from synapse_withheld.config import Config
from synapse_withheld.database.queues import INBOX, OUTBOX, Queue
from synapse_withheld.database.database import Database
from synapse_withheld.delivery.collapser import Collapser
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.judging import Judge
from synapse_withheld.delivery.reading import Reader
from synapse_withheld.delivery.surroundings import Surroundings
from synapse_withheld.delivery.tidying import Tidier
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.delivery.waiting import Runtime, SenderLocks
from synapse_withheld.memory.index import Index
from synapse_withheld.memory.storing import Limits
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.ruleset import Ruleset


def wire(
    config: Config,
    synapse: Surroundings,
    metrics: Metrics,
    tally: Tally,
    *,
    spoofs_possible: bool,
) -> Traffic:
    """Put the parts together.

    Args:
        config: The module's configuration.
        synapse: The homeserver.
        metrics: Where everything is counted.
        tally: Where it is counted who sends and receives notices.
        spoofs_possible: Whether mailboxes may hold messages with spoofed senders.

    Returns:
        What all batches go through.
    """
    runtime = synapse.runtime()
    # An index each, so that notices for invented devices on other servers push
    # nothing out of the one of the local devices.
    inbox_index = _index(config, spoofs_possible=spoofs_possible)
    outbox_index = _index(config, spoofs_possible=False)

    def forget_all() -> None:
        inbox_index.clear()
        outbox_index.clear()

    failures = Failures(metrics, runtime.seconds, stand_aside=forget_all)
    rules = Ruleset.of(config)
    parts = (config, rules, synapse, runtime, metrics, tally, failures)
    metrics.watch(
        pairs=lambda: inbox_index.pairs + outbox_index.pairs,
        mailboxes=lambda: len(inbox_index) + len(outbox_index),
        active=lambda: not failures.standing_aside,
    )
    return Traffic(
        _collapser(INBOX, inbox_index, synapse.reader_never_acknowledges, *parts),
        # Whoever reads on another server, the outbox itself is acknowledged.
        _collapser(OUTBOX, outbox_index, lambda _: False, *parts),
        config.outbox,
        rules.types,
        metrics,
        failures,
    )


def _index(config: Config, *, spoofs_possible: bool) -> Index:
    limits = Limits(
        mailboxes=config.max_mailboxes,
        pairs=config.max_pairs,
        pairs_per_mailbox=config.max_pairs_per_mailbox,
        pairs_per_sender=config.max_pairs_per_sender,
        requests_per_sender=config.max_requests_per_sender,
    )
    return Index(limits, spoofs_possible=spoofs_possible)


def _collapser(  # noqa: PLR0913, PLR0917 what all parts are made of
    queue: Queue,
    index: Index,
    reader_never_acknowledges: Callable[[str], bool],
    config: Config,
    rules: Ruleset,
    synapse: Surroundings,
    runtime: Runtime,
    metrics: Metrics,
    tally: Tally,
    failures: Failures,
) -> Collapser:
    store = Database(synapse.run_statement, synapse.database_driver)
    tidier = Tidier(
        queue, index, store, metrics, failures, runtime, synapse.stream_token
    )
    reader = Reader(
        index,
        store,
        runtime,
        found=tidier.add if config.enforces else lambda _: None,
        rules=rules,
    )
    judge = Judge(
        queue, index, reader, reader_never_acknowledges, runtime.seconds, config.hold_s
    )
    return Collapser(
        config,
        rules,
        queue,
        index,
        judge,
        tidier,
        synapse.device_list_id,
        runtime=runtime,
        metrics=metrics,
        tally=tally,
        failures=failures,
        # A lock each: a request for both queues holds them in this order.
        locks=SenderLocks(runtime),
    )
