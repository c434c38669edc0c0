"""Put the parts of the module together."""

from __future__ import annotations

from typing import Any, Callable

from synapse_withheld.config import Config
from synapse_withheld.database.queues import INBOX, OUTBOX, Queue
from synapse_withheld.delivery.confirming.confirmer import Confirmer
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.housekeeping.housekeeper import Housekeeper
from synapse_withheld.delivery.housekeeping.learning import Learning
from synapse_withheld.delivery.housekeeping.tidying import Tidying
from synapse_withheld.delivery.housekeeping.users import LearningOfUsers
from synapse_withheld.delivery.rearming import Rearming
from synapse_withheld.delivery.runtime import Homeserver, database_of
from synapse_withheld.delivery.settling import Settler
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.delivery.traffic import Traffic
from synapse_withheld.memory.memory import Limits, Memory
from synapse_withheld.operators import series
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.identifiers import server_of
from synapse_withheld.rules.mailbox import Superseded
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
    runtime, token = synapse.runtime(), synapse.stream_token
    rules = Ruleset.of(config)
    failures = Failures(metrics, runtime.seconds)
    memories = _memories(config, synapse)
    database = database_of(synapse, CANCEL_AFTER_S)
    confirmer = Confirmer(memories, _QUEUES, database, runtime, metrics, failures)
    housekeeper = _housekeeper(config, synapse, rules, confirmer)

    def sorter(queue: Queue, never_acknowledges: Callable[[str], bool]) -> Sorter:
        about = (queue.name, queue.has_all_devices, memories[queue.name])
        list_id = synapse.device_list_id
        return Sorter(*about, rules, metrics, token, list_id, never_acknowledges)

    queues = _QUEUES if config.outbox else [INBOX.name]
    metrics.begin([rule.name for rule in rules.rules], queues)
    metrics.watch(
        series.TRACKED_PAIRS, lambda: sum(each.pairs for each in memories.values())
    )
    metrics.watch(series.TRACKED_MAILBOXES, lambda: sum(map(len, memories.values())))
    metrics.watch(series.ACTIVE, lambda: confirmer.passes is None)
    waiting = series.HOUSEKEEPING_QUEUE
    metrics.watch(waiting, lambda: housekeeper.to_learn, work="learn")
    metrics.watch(waiting, lambda: housekeeper.to_tidy, work="tidy")
    return Traffic(
        sorter(INBOX, synapse.reader_never_acknowledges),
        sorter(OUTBOX, lambda _: False),
        config.outbox,
        rules.types,
        config.enforces,
        confirmer,
        Settler(memories, INBOX.name, housekeeper, metrics, tally, token),
        Rearming(memories[INBOX.name], memories[OUTBOX.name], metrics),
        runtime,
        metrics,
        failures,
    )


def _memories(config: Config, synapse: Homeserver) -> dict[str, Memory]:
    """Return a memory for each queue.

    So notices for invented devices on other servers push nothing out of that of the
    local devices.
    """
    limits, hold_s = Limits(config.max_pairs), config.hold_s
    hands_out = synapse.sees_reads and config.enforces
    return {
        INBOX.name: Memory(
            limits,
            sees_reads=synapse.sees_reads,
            hold_s=hold_s,
            who_of=_who_of,
            position=synapse.stream_token if hands_out else None,
        ),
        # However devices on other servers read, the outbox itself is acknowledged.
        OUTBOX.name: Memory(limits, sees_reads=False, hold_s=hold_s),
    }


def _who_of(sender: str, recipient: str) -> str:
    """Return whose share something takes: a sender's, or another server's."""
    server = server_of(sender)
    return sender if server == server_of(recipient) else server


def _housekeeper(
    config: Config, synapse: Homeserver, rules: Ruleset, confirmer: Confirmer
) -> Housekeeper:
    memories, metrics = confirmer.memories, confirmer.metrics
    runtime, token = confirmer.runtime, synapse.stream_token
    database = database_of(synapse, CANCEL_AFTER_S)

    def learn(*about: Any) -> None:
        housekeeper.learn(INBOX.name, *about)

    def tidying(queue: Queue) -> Tidying:
        return Tidying(queue, memories[queue.name], database, metrics, token)

    def learning(queue: Queue) -> Learning:
        def tidy(rows: list[Superseded], who: str) -> None:
            housekeeper.tidy(queue.name, rows, who)

        about = (queue, memories[queue.name], database)
        return Learning(*about, rules, tidy, runtime.now_ts, runtime.sleep)

    housekeeper = Housekeeper(
        {name: learning(queue) for name, queue in _QUEUES.items()},
        LearningOfUsers(memories[INBOX.name], database, learn, token),
        {name: tidying(queue) for name, queue in _QUEUES.items()},
        runtime,
        confirmer.failures,
        lambda: confirmer.is_overdue,
        config.enforces,
    )
    return housekeeper
