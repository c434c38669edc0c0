"""With every rule on and `vanish`, a client knows in the end what it would know.

As in `test_rules.py`, with syncs that take their time, have pages and are lost, and a
memory that is lost. One play is exempt, see `Vanishing.reused`.
"""

from __future__ import annotations

from typing import Any

import attrs
import hypothesis.strategies as st
from hypothesis import event, settings
from hypothesis.stateful import invariant, rule
from twisted.internet.defer import ensureDeferred

from synapse_withheld.config import Config
from synapse_withheld.memory.tables.mailbox import Mailbox
from synapse_withheld.memory.tables.records import Record
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.tally import Tally
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.wiring import wire
from tests.harness.rules import EVERY_RULE
from tests.model.client import KEY_REQUEST, SECRET_REQUEST
from tests.model.faults import failures_of
from tests.model.test_rules import (
    CASES,
    DEVICES,
    RECIPIENT,
    SENDERS,
    AllRules,
    Reader,
    actions,
    few,
    rarely,
    request,
)

VANISH = attrs.evolve(
    EVERY_RULE,
    key_requests="vanish",
    secret_requests="vanish",  # noqa: S106 no password
)

# As a client names what it is asked for.
Request = tuple[str, ...]
Rows = list[tuple[int, dict[str, Any]]]


def request_of(message: dict[str, Any]) -> Request | None:
    """Return what a message asks for; `None` for others and for cancellations."""
    kind, content = message["type"], message["content"]
    if kind not in {KEY_REQUEST, SECRET_REQUEST} or content["action"] != "request":
        return None
    device = content["requesting_device_id"]
    return (message["sender"], device, kind, content["request_id"])


class Vanishing(AllRules):
    """Messages on their way to two devices, where requests vanish.

    Attributes:
        handed: By device: up to which stream ID each request was handed out.
        forgotten: What was handed out that the memory may not know of any more.
        reused: By device: IDs used again after the memory forgot that they had been
            handed out, and nothing in the mailbox told of it. No memory can know that
            they were: the device may keep what was asked first.
    """

    sees_reads = True
    max_pairs = 1000

    def __init__(self) -> None:
        super().__init__()
        self.handed: dict[str, dict[Request, int]] = {device: {} for device in DEVICES}
        self.forgotten: set[tuple[str, Request]] = set()
        self.reused: dict[str, set[Request]] = {device: set() for device in DEVICES}

    def load(self) -> None:
        """Load the module; what was known before is forgotten."""
        self.traffic = wire(
            Config(rules=VANISH, max_pairs=self.max_pairs),
            self.hs,
            Metrics("vanishing"),
            Tally(self.hs.runtime().seconds),
        )
        self.failures = failures_of(self.traffic)
        for device in DEVICES:
            self._forget(device)
        mailboxes = self.traffic.inbox.memory
        forget, lose = mailboxes.forget, mailboxes._lose

        def forget_and_tell(key: MailboxKey) -> None:
            self._forget(key[1])
            forget(key)

        def lose_and_tell(mailbox: Mailbox, record: Record) -> None:
            self._forget(mailbox.key[1])
            lose(mailbox, record)

        mailboxes.forget = forget_and_tell  # type: ignore[method-assign]
        mailboxes._lose = lose_and_tell  # type: ignore[method-assign]

    @rule(
        sender=st.sampled_from(SENDERS),
        to=st.sampled_from(["R1", "R1", "R2", "*"]),
        kind=st.sampled_from([KEY_REQUEST, SECRET_REQUEST]),
        which=few,
        about=rarely,
        sent=st.lists(actions, min_size=2, max_size=3),
    )
    def ask(
        self, sender: str, to: str, kind: str, which: str, about: str, sent: list[str]
    ) -> None:
        """Ask and take back, as soon as the one before is answered."""
        for action in sent:
            self.send(sender, to, request(kind, action, which, about))

    @rule(device=st.sampled_from(DEVICES), arrives=st.booleans())
    def sync(self, device: str, arrives: bool) -> None:
        """Answer a sync at once; whether the answer arrives or not."""
        _, module = self.pairs[device]
        self._hand_out(
            device, [row for row in self._visible(device) if row[0] > module.token]
        )
        super().sync(device, arrives)

    @rule(
        device=st.sampled_from(DEVICES),
        arrives=st.booleans(),
        limit=st.sampled_from([1, 2, 100]),
    )
    def sync_slowly(self, device: str, arrives: bool, limit: int) -> None:
        """Begin to answer a sync with a page; the database takes its time."""
        _, module = self.pairs[device]
        self.hs.acknowledge(RECIPIENT, device, module.token)
        token = self.hs.stream_token()
        self.traffic.note_read(RECIPIENT, device, token)
        answer = self._answer(device, module, token, limit, arrives=arrives)
        ensureDeferred(answer)

    async def _answer(
        self, device: str, module: Reader, token: int, limit: int, *, arrives: bool
    ) -> None:
        since = module.token
        rows = await self.hs.read(RECIPIENT, device, since, token)
        page = rows[:limit]
        self._hand_out(device, page)
        if arrives and module.token == since:
            module.client.give(message for _, message in page)
            module.token = page[-1][0] if len(page) < len(rows) else token

    @rule(device=st.sampled_from(DEVICES))
    def evict(self, device: str) -> None:
        """Forget a mailbox, as when others need the room."""
        self.traffic.inbox.memory.forget((RECIPIENT, device))

    def check_swept(self) -> None:
        """What was forgotten is left to the sweep."""

    @invariant()
    def note_reused(self) -> None:
        """Note what nobody can know any more."""
        for device, asked in list(self.forgotten):
            up_to = self.handed[device][asked]
            told = any(
                request_of(message) == asked
                for at, message in self._visible(device)
                if at <= up_to
            )
            mailbox = self.traffic.inbox.memory.peek((RECIPIENT, device))
            if not told:
                self.reused[device].add(asked)
            elif mailbox is not None and mailbox.learned:
                self.forgotten.discard((device, asked))

    def _hand_out(self, device: str, rows: Rows) -> None:
        mailbox = self.traffic.inbox.memory.peek((RECIPIENT, device))
        known = [] if mailbox is None else [*mailbox]
        for at, message in rows:
            asked = request_of(message)
            if asked is None:
                continue
            handed = self.handed[device]
            handed[asked] = max(at, handed.get(asked, 0))
            if not any(each.stream_id <= at and is_of(each, asked) for each in known):
                self.forgotten.add((device, asked))

    def _forget(self, device: str) -> None:
        self.forgotten |= {(device, asked) for asked in self.handed[device]}

    def teardown(self) -> None:
        """Let everything arrive, and compare all but the one play that is exempt."""
        if not self.pairs:
            return
        self.rest()
        self.note_reused()
        for device, (stock, module) in self.pairs.items():
            self.sync(device, arrives=True)
            for reader in (stock, module):
                reader.client.forget(self._now_ts(), self.gone)
                for asked in self.reused[device]:
                    reader.client.asked.pop(asked, None)
            assert stock.client.knows == module.client.knows
            assert module.client.read <= stock.client.read
        deleted = self.hs.answered.count("withheld_delete_vanished")
        event(f"vanished: {'some' if deleted else 'none'}")
        event(f"exempt: {'some' if any(self.reused.values()) else 'none'}")


def is_of(record: Record, request: Request) -> bool:
    """Say whether a record is of a request."""
    pair = record.notice.pair
    of = (pair.sender, pair.device, pair.message_type, *(pair.scope or ()))
    return of == request


class VanishingInLittleRoom(Vanishing):
    """The same with a memory that forgets all the time."""

    max_pairs = 300


TestVanishing = Vanishing.TestCase
TestVanishing.settings = CASES
TestVanishingInLittleRoom = VanishingInLittleRoom.TestCase
TestVanishingInLittleRoom.settings = settings(CASES, max_examples=60)
