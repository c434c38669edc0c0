"""Put the parts of the module together."""

from __future__ import annotations

from typing import Any, Callable, Protocol

from synapse_withheld.collapser import Collapser
from synapse_withheld.config import Config
from synapse_withheld.failures import Failures
from synapse_withheld.index import Index
from synapse_withheld.judging import Homeserver, Judge
from synapse_withheld.metrics import Metrics
from synapse_withheld.reading import Reader
from synapse_withheld.store import Store
from synapse_withheld.tidying import Tidier
from synapse_withheld.traffic import Traffic
from synapse_withheld.waiting import Runtime, SenderLocks
from synapse_withheld.watch import Limits


class Surroundings(Homeserver, Protocol):
    """What the parts need of the homeserver they run in."""

    def runtime(self) -> Runtime:
        """Return how this homeserver runs things."""

    def stream_token(self) -> int:
        """Return the position up to which readers see to-device messages."""

    async def run_statement(
        self, description: str, function: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Run a function of one statement outside any transaction."""


def wire(
    config: Config, synapse: Surroundings, metrics: Metrics, spoofs_possible: bool
) -> Traffic:
    """Put the parts together.

    Args:
        config: The module's configuration.
        synapse: The homeserver.
        metrics: Where everything is counted.
        spoofs_possible: Whether mailboxes may hold messages with spoofed senders.

    Returns:
        What all batches go through.
    """
    runtime = synapse.runtime()
    index = Index(
        Limits(
            mailboxes=config.max_mailboxes,
            pairs=config.max_pairs,
            pairs_per_mailbox=config.max_pairs_per_mailbox,
            pairs_per_sender=config.max_pairs_per_sender,
        ),
        spoofs_possible=spoofs_possible,
    )
    store = Store(synapse.run_statement)
    failures = Failures(metrics, runtime.seconds, stand_aside=index.clear)
    tidier = Tidier(index, store, metrics, failures, runtime, synapse.stream_token)
    reader = Reader(
        index,
        store,
        runtime,
        found=tidier.add if config.enforces else lambda _: None,
        merge_scopes=config.merge_scopes,
    )
    collapser = Collapser(
        config,
        index,
        Judge(index, reader, synapse),
        tidier,
        homeserver=synapse,
        runtime=runtime,
        metrics=metrics,
        failures=failures,
        locks=SenderLocks(runtime),
    )
    metrics.watch(
        pairs=lambda: index.pairs,
        mailboxes=lambda: len(index),
        active=lambda: not failures.standing_aside,
    )
    return Traffic(collapser, index, metrics, failures)
