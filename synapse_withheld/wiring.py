"""Put the parts of the module together."""

from __future__ import annotations

import functools

from synapse_withheld.config import Config
from synapse_withheld.database.database import Database
from synapse_withheld.database.queues import INBOX, OUTBOX, Queue
from synapse_withheld.delivery.confirming.confirmer import Confirmer
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.housekeeping.housekeeper import Housekeeper
from synapse_withheld.delivery.housekeeping.learning import Learning
from synapse_withheld.delivery.housekeeping.tidying import Tidying
from synapse_withheld.delivery.housekeeping.users import LearningOfUsers
from synapse_withheld.delivery.rearming import Rearming
from synapse_withheld.delivery.runtime import Homeserver
from synapse_withheld.delivery.settling import Settler
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.ruleset import Ruleset

# When a statement that does not come back is cancelled, in seconds.
CANCEL_AFTER_S = 5.0

_QUEUES = {queue.name: queue for queue in (INBOX, OUTBOX)}


def wire(
    config: Config, synapse: Homeserver, metrics: Metrics, tally: Tally
) -> Traffic:
    """Put the parts together; return what all batches go through.

    The tally is of who sends and receives notices.
    """
    runtime = synapse.runtime()
    rules = Ruleset.of(config)
    failures = Failures(metrics, runtime.seconds)
    limits = Limits(config.max_pairs)
    # A memory each, so that notices for invented devices on other servers push nothing
    # out of that of the local devices.
    memories = {
        INBOX.name: Memory(
            limits,
            sees_reads=synapse.sees_reads,
            hold_s=config.hold_s,
            who_of=_who_of,
            position=(
                synapse.stream_token if synapse.sees_reads and config.enforces else None
            ),
        ),
        # However devices on other servers read, the outbox itself is acknowledged.
        OUTBOX.name: Memory(limits, sees_reads=False, hold_s=config.hold_s),
    }
    confirmer = Confirmer(
        memories,
        _QUEUES,
        _database(synapse),
        runtime,
        metrics,
        failures,
    )
    housekeeper = _housekeeper(
        config, synapse, memories, rules, metrics, failures, confirmer
    )
    inbox, outbox = (
        Sorter(
            queue.name,
            queue.has_all_devices,
            memories[queue.name],
            rules,
            metrics,
            synapse.stream_token,
            synapse.device_list_id,
            never_acknowledges,
        )
        for queue, never_acknowledges in (
            (INBOX, synapse.reader_never_acknowledges),
            (OUTBOX, lambda _: False),
        )
    )
    metrics.begin(
        [rule.name for rule in rules.rules],
        _QUEUES if config.outbox else [INBOX.name],
    )
    metrics.watch(
        pairs=lambda: sum(memory.pairs for memory in memories.values()),
        mailboxes=lambda: sum(map(len, memories.values())),
        active=lambda: confirmer.passes is None,
        to_learn=lambda: housekeeper.to_learn,
        to_tidy=lambda: housekeeper.to_tidy,
    )
    return Traffic(
        inbox,
        outbox,
        config.outbox,
        rules.types,
        config.enforces,
        confirmer,
        Settler(
            memories, INBOX.name, housekeeper, metrics, tally, synapse.stream_token
        ),
        Rearming(memories[INBOX.name], memories[OUTBOX.name], metrics),
        runtime,
        metrics,
        failures,
    )


def _who_of(sender: str, recipient: str) -> str:
    """Return whose share something takes: a sender's, or another server's."""
    server = server_of(sender)
    return sender if server == server_of(recipient) else server


def _database(synapse: Homeserver) -> Database:
    return Database(
        synapse.run_statement,
        synapse.database_driver,
        connection_of=synapse.connection_of,
        watchdog=functools.partial(synapse.runtime().call_later, CANCEL_AFTER_S),
        stream_token=synapse.stream_token,
    )


def _housekeeper(  # noqa: PLR0913, PLR0917 what all work in the background needs
    config: Config,
    synapse: Homeserver,
    memories: dict[str, Memory],
    rules: Ruleset,
    metrics: Metrics,
    failures: Failures,
    confirmer: Confirmer,
) -> Housekeeper:
    runtime = synapse.runtime()
    database = _database(synapse)

    def tidying(queue: Queue) -> Tidying:
        memory = memories[queue.name]
        return Tidying(queue, memory, database, metrics, synapse.stream_token)

    def learning(queue: Queue) -> Learning:
        return Learning(
            queue,
            memories[queue.name],
            database,
            rules,
            lambda rows, who: housekeeper.tidy(queue.name, rows, who),
            runtime.now_ts,
            runtime.sleep,
        )

    users = LearningOfUsers(
        memories[INBOX.name],
        database,
        lambda *about: housekeeper.learn(INBOX.name, *about),
        synapse.stream_token,
    )
    housekeeper = Housekeeper(
        {name: learning(queue) for name, queue in _QUEUES.items()},
        users,
        {name: tidying(queue) for name, queue in _QUEUES.items()},
        runtime,
        failures,
        lambda: confirmer.is_overdue,
        config.enforces,
    )
    return housekeeper
