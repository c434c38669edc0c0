"""Learn what mailboxes hold and delete what is redundant, in the background.

One statement at a time, with a rest of four times what it took: what happens here is in
nobody's way.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

import attrs
from twisted.internet.defer import DeferredLock

from synapse_withheld.delivery.failures import Failures
from synapse_withheld.delivery.housekeeping.learning import Learning
from synapse_withheld.delivery.housekeeping.tidying import Tidying
from synapse_withheld.delivery.housekeeping.users import LearningOfUsers
from synapse_withheld.delivery.runtime import Runtime
from synapse_withheld.delivery.shares import Chore
from synapse_withheld.memory.memory import Mailbox
from synapse_withheld.rules.mailbox import Superseded
from synapse_withheld.rules.redundant import Row

# How long to rest after a statement, in times of what that took, and after one that
# failed, in seconds.
REST_TIMES = 4
REST_S = 1.0

# How long to wait until readers see more of the stream, or until the confirmations
# come again, in seconds.
LOOK_AGAIN_S = 0.05


@attrs.define(eq=False)
class Housekeeper:
    """All work in the background, of both queues.

    Attributes:
        gives_way: Says whether confirmations are overdue: then nothing is asked.
        enforces: Whether anything is deleted at all.
        turn: Who asks the database at the moment: the sweep takes turns with this.
    """

    learning: Mapping[str, Learning]
    users: LearningOfUsers
    tidying: Mapping[str, Tidying]
    runtime: Runtime
    failures: Failures
    gives_way: Callable[[], bool]
    enforces: bool
    turn: DeferredLock = attrs.field(factory=DeferredLock)
    _working: bool = attrs.field(default=False, init=False)

    def learn(
        self, queue: str, mailbox: Mailbox, who: str, row: Row | None = None
    ) -> None:
        """Have a mailbox learned that was opened on somebody's behalf.

        `row` is one that was stored there just now, if that is known.
        """
        self.learning[queue].add(mailbox, who, row)
        self._start()

    def learn_user(self, user_id: str, who: str, row: Row | None) -> None:
        """Have all mailboxes of a user learned, where a row was stored just now."""
        self.users.add(user_id, who, row)
        self._start()

    def tidy(self, queue: str, superseded: Sequence[Superseded], who: str) -> None:
        """Have rows deleted that somebody's messages made redundant."""
        if superseded and self.enforces:
            self.tidying[queue].add(superseded, who)
            self._start()

    @property
    def to_learn(self) -> int:
        return len(self.users) + sum(map(len, self.learning.values()))

    @property
    def to_tidy(self) -> int:
        return sum(map(len, self.tidying.values()))

    def _start(self) -> None:
        if not self._working:
            self._working = True
            self.runtime.as_process("withheld_housekeeping", self._work)

    def _chores(self) -> list[Chore]:
        return [*self.tidying.values(), *self.learning.values(), self.users]

    async def _work(self) -> None:
        """Work until nothing is left to do; must not raise."""
        try:
            while any(map(len, self._chores())):
                ready = [each for each in self._chores() if each.is_ready]
                if not ready or self.gives_way():
                    await self.runtime.sleep(LOOK_AGAIN_S)
                for chore in ready:
                    await self._do_some(chore)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("tidy", error)
        finally:
            self._working = False

    async def _do_some(self, chore: Chore) -> None:
        if self.gives_way() or not chore.is_ready:
            return
        await self.runtime.yieldable(self.turn.acquire())
        started_s = self.runtime.seconds()
        try:
            await chore.do_some()
            rest_s = REST_TIMES * (self.runtime.seconds() - started_s)
        except Exception as error:  # noqa: BLE001 nothing of ours may go further
            self.failures.note("tidy", error)
            rest_s = REST_S
        finally:
            with self.runtime.outside_any_log_context():
                self.turn.release()
        await self.runtime.sleep(rest_s)
