"""The life of a batch: sort, release, confirm, store, settle.

Nothing waits before it is stored, but for a notice that is believed to be a duplicate.
Whatever fails here, the batch is stored.
"""

from __future__ import annotations

import functools
from typing import Any, Awaitable, Callable

import attrs
from twisted.internet.defer import Deferred

from synapse_withheld.delivery.batch import (
    Batch,
    Candidate,
    Edus,
    LocalMessages,
    decide,
    first_of,
    how_many,
    users_of,
)
from synapse_withheld.delivery.confirming.confirmer import Confirmer
from synapse_withheld.delivery.confirming.waiting_room import Waiting
from synapse_withheld.delivery.edus import as_messages
from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.rearming import OlmPassed, Rearming, olm_messages
from synapse_withheld.delivery.runtime import Runtime
from synapse_withheld.delivery.settling import Settler
from synapse_withheld.delivery.sorting import Sorter
from synapse_withheld.memory.tables.records import count
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.rules import decision as decisions
from synapse_withheld.rules.content import OLM_TYPE
from synapse_withheld.rules.identifiers import is_from

# Stores messages for local devices and EDUs for other servers, as Synapse does; what
# it returns is passed on.
Write = Callable[[LocalMessages, Edus], Awaitable[Any]]


@attrs.define
class Traffic:
    """All to-device messages on their way to the store.

    Attributes:
        inbox: Sorts messages for local devices.
        outbox: Sorts messages for devices on other servers.
        collapses_outbox: Whether these are acted on at all.
        types: The types of messages that any rule names.
        enforces: Whether decisions are carried out, not only counted.
    """

    inbox: Sorter
    outbox: Sorter
    collapses_outbox: bool
    types: frozenset[str]
    enforces: bool
    confirmer: Confirmer
    settler: Settler
    rearming: Rearming
    runtime: Runtime
    metrics: Metrics
    failures: Failures
    # How many batches are in flight of which not everything was looked at, by sender.
    _unsorted: dict[str, int] = attrs.field(factory=dict, init=False)

    async def store(
        self,
        local: LocalMessages,
        edus: Edus,
        write: Write,
        origin: str | None = None,
    ) -> Any:
        """Store messages of one sender and one type.

        Args:
            local: Those for devices of this server.
            edus: Those for other servers; they are not changed.
            write: Stores as Synapse does, and notes the stream IDs in what it is given
                where that is an `ObservedBatch`. It is called once.
            origin: The server that they came from; `None` for a local client.

        Returns:
            What `write` returned.
        """
        batch = None
        olm: list[OlmPassed] = []
        sender = ""
        begun = self.inbox.begun + self.outbox.begun
        try:
            first = first_of(local, edus)
            message_type, sender = first.get("type"), first.get("sender", "")
            if message_type == OLM_TYPE:
                olm = olm_messages(local, edus, origin)
                self.rearming.passed(olm, origin)
            elif isinstance(message_type, str) and message_type in self.types:
                batch = self._sort(local, edus, sender, origin)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self._doubt_everything("decide", error)
        self._guard(lambda: self._release(local, edus, sender, origin, batch))
        if batch is not None and batch.unseen:
            return await self._store_with_unsorted(batch, write)
        if batch is not None and batch.candidates:
            return await self._decide_and_store(batch, write)
        try:
            return await write(local, edus)
        finally:
            # What was sorted before is marked already.
            if olm and self.inbox.begun + self.outbox.begun != begun:
                self._guard(lambda: self.rearming.passed(olm, origin))

    def note_read(self, user_id: str, device_id: str, up_to: int) -> None:
        self.inbox.memory.note_read(user_id, device_id, up_to)

    def note_read_of_user(self, user_id: str, up_to: int) -> None:
        """Note that somebody begins to read all mailboxes of a user."""
        memory = self.inbox.memory
        for device_id in memory.devices_of(user_id):
            memory.note_read(user_id, device_id, up_to)

    def _sort(
        self, local: LocalMessages, edus: Edus, sender: str, origin: str | None
    ) -> Batch:
        started_s = self.runtime.seconds()
        who = sender if origin is None else origin
        batch = Batch(local, edus, sender, who, started_s)
        try:
            self.inbox.sort(batch, local, origin)
            if self.collapses_outbox and edus:
                abroad = as_messages(edus)
                if abroad is not None:
                    self.outbox.sort(batch, abroad, origin)
            if batch.candidates:
                self.metrics.decided_in(self.runtime.seconds() - started_s)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("decide", error)
            self.settler.forget_named(batch)
            batch.candidates.clear()
        return batch

    def _release(
        self,
        local: LocalMessages,
        edus: Edus,
        sender: str,
        origin: str | None,
        batch: Batch | None,
    ) -> None:
        """Let go what of the same sender waits, so that this does not overtake it."""
        room = self.confirmer.room
        if room.waits_for(sender) and is_from(sender, origin):
            waits = batch is not None and _is_all_in_doubt(batch)
            if not waits or sender in self._unsorted:
                self.confirmer.release(room.of(sender, users_of(local, edus)))

    async def _store_with_unsorted(self, batch: Batch, write: Write) -> Any:
        """Store a batch, and believe nothing of its sender before it is settled."""
        count(self._unsorted, batch.sender, 1)
        try:
            return await self._decide_and_store(batch, write)
        finally:
            count(self._unsorted, batch.sender, -1)

    async def _decide_and_store(self, batch: Batch, write: Write) -> Any:
        doubtful = self._doubtful(batch)
        waiting = None
        if doubtful and self.enforces:
            answered: Deferred[None] = Deferred()
            waiting = self._wait(batch, doubtful, lambda: answered.callback(None))
            if waiting is not None:
                await self.runtime.yieldable(answered)
        self._carry_out(batch)
        if waiting is not None:
            # Nothing overtook it while it waited, and it overtakes nothing.
            self._guard(functools.partial(self.confirmer.release_before, waiting))
        try:
            result = await write(batch.local, batch.edus)
        except BaseException:
            # Whether the rows were written is not known.
            self._guard(lambda: self.settler.forget(batch))
            raise
        self._guard(lambda: self._settle(batch, doubtful))
        return result

    def _doubtful(self, batch: Batch) -> list[Candidate]:
        """Return the believed duplicates, if anything may collapse at the moment."""
        doubtful = [each for each in batch.candidates if each.collapses]
        passes = self.confirmer.passes
        if passes is None and batch.sender in self._unsorted:
            # What is in flight may say something else.
            passes = decisions.LIMIT
        if passes is None:
            return doubtful
        decide(doubtful, passes)
        return []

    def _wait(
        self, batch: Batch, doubtful: list[Candidate], finish: Callable[[], None]
    ) -> Waiting | None:
        """Have a batch confirmed; `None` where `finish` will not be called."""
        waiting = Waiting(batch, doubtful, finish, is_stored=not self.enforces)
        try:
            self.confirmer.add(waiting)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("decide", error)
            decide(doubtful, decisions.FAILED)
            self._guard(lambda: self.confirmer.release_before(waiting))
            return None
        return waiting

    def _carry_out(self, batch: Batch) -> None:
        if not self.enforces:
            return
        try:
            self.settler.believe_again(batch, self.runtime.seconds())
            self.settler.take_out(batch)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("decide", error)
            self._guard(lambda: self.settler.forget(batch))
            batch.candidates.clear()

    def _settle(self, batch: Batch, doubtful: list[Candidate]) -> None:
        try:
            self.settler.settle(batch)
        except Exception:
            self.settler.forget(batch)
            raise
        if self.enforces or not doubtful:
            self.settler.count(batch, batch.candidates)
            return
        later = {*doubtful}
        self.settler.count(
            batch, [each for each in batch.candidates if each not in later]
        )
        finish = functools.partial(self.settler.count, batch, doubtful)
        if self._wait(batch, doubtful, finish) is None:
            finish()

    def _guard(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self._doubt_everything("record", error)

    def _doubt_everything(self, stage: str, error: Exception) -> None:
        """Forget all that is remembered: something that happened was missed."""
        self.failures.note(stage, error)
        self.inbox.memory.clear()
        self.outbox.memory.clear()


def _is_all_in_doubt(batch: Batch) -> bool:
    """Say whether a batch is nothing but believed duplicates."""
    abroad = sum(how_many(edu["messages"]) for edu in batch.edus.values())
    messages = how_many(batch.local) + abroad
    return messages == sum(each.collapses for each in batch.candidates)
