"""What must be left of what was sent: a plain model, for any number of servers.

Nothing of the module is used here: its work is what is compared with this.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

import attrs

from tests.demo.checks import NOTICE_TYPES, Pair, pair_of
from tests.demo.federation.traffic import RECIPIENT, Crossing, Request
from tests.harness.clients.messages import ENCRYPTED

Content = Mapping[str, Any]

# A pair's notice, as far as the next one is compared with it.
Toward = tuple[Pair, str]


class Restart:
    """The server started again: whoever watched has forgotten."""


RESTART = Restart()

History = Sequence["Request | Restart"]


@attrs.frozen
class Placement:
    """Which of two servers run the module."""

    sender: bool
    receiver: bool

    @property
    def name(self) -> str:
        """Return which they are, in a word."""
        if self.sender:
            return "both" if self.receiver else "sender"
        return "receiver" if self.receiver else "none"


PLACEMENTS = tuple(
    Placement(sender, receiver)
    for receiver in (False, True)
    for sender in (False, True)
)


@attrs.define
class _Queue:
    """Entries of a queue, as the module leaves them.

    Attributes:
        entries: What is queued, by its number; each with one message or several.
        newest: Which entry has a pair's newest notice for a device.
        unsure: Pairs of which anything may have been missed, or an Olm message
            passed: the next notice says something new.
    """

    entries: dict[int, Request] = attrs.field(factory=dict)
    newest: dict[Toward, int] = attrs.field(factory=dict)
    unsure: set[Toward] = attrs.field(factory=set)

    def add(self, number: int, request: Request) -> None:
        """Queue a request, but for its notices that a queued one stands for."""
        says_more = {
            device_id: content
            for device_id, content in request.messages.items()
            if not self._says_it_all(_toward(request, device_id), content)
        }
        if not says_more:
            return
        self.entries[number] = attrs.evolve(request, messages=says_more)
        for device_id in says_more:
            toward = _toward(request, device_id)
            older = self.newest.pop(toward, None)
            # What also holds another message is never changed.
            if older is not None and len(self.entries[older].messages) == 1:
                del self.entries[older]
            self.newest[toward] = number
            self.unsure.discard(toward)

    def rearm(self, request: Request) -> None:
        """Note that an Olm message passed, from a sender or back to one."""
        for toward, number in self.newest.items():
            queued = self.entries[number]
            key = queued.messages[toward[1]]["sender_key"]
            for device_id, content in request.messages.items():
                there = (request.sender, request.to) == (queued.sender, RECIPIENT)
                if there and (device_id, content["sender_key"]) == (toward[1], key):
                    self.unsure.add(toward)
                back = (request.sender, request.to) == (RECIPIENT, queued.sender)
                if back and key in content["ciphertext"]:
                    self.unsure.add(toward)

    def _says_it_all(self, toward: Toward, content: Content) -> bool:
        if toward not in self.newest or toward in self.unsure:
            return False
        queued = self.entries[self.newest[toward]].messages[toward[1]]
        if queued["sender_key"] != content["sender_key"]:
            return False
        # A notice about everything says more than one about a session.
        return "session_id" not in queued or "session_id" in content


def left(history: Iterable[Request | Restart]) -> tuple[Request, ...]:
    """Return what the module leaves queued of what was to be queued, in order."""
    queue = _Queue()
    for number, each in enumerate(history):
        if isinstance(each, Restart):
            queue.unsure.update(queue.newest)
        elif each.message_type in NOTICE_TYPES:
            queue.add(number, each)
        else:
            if each.message_type == ENCRYPTED:
                queue.rearm(each)
            if each.to == RECIPIENT:
                queue.entries[number] = each
    return tuple(queue.entries.values())


def outbox(history: History, placement: Placement) -> tuple[Request, ...]:
    """Return what must wait while the receiver is away, in order."""
    if placement.sender:
        return left(history)
    return tuple(each for each in history if isinstance(each, Request))


def mailbox(history: History, placement: Placement) -> tuple[Request, ...]:
    """Return what must be in the recipient's mailboxes, in order.

    A row for each message, whatever they came in.
    """
    rows: list[Request | Restart] = []
    for each in history:
        if isinstance(each, Restart):
            rows.append(each)
        else:
            one_each = ({device: each.messages[device]} for device in each.messages)
            rows += [attrs.evolve(each, messages=one) for one in one_each]
    if placement.receiver:
        return left(rows)
    return tuple(
        each for each in rows if isinstance(each, Request) and each.to == RECIPIENT
    )


def arrived(crossing: Crossing, placement: Placement) -> list[Request | Restart]:
    """Return what arrives, in order: what waited comes after the restart."""
    waited = outbox(crossing.away, placement)
    return [*crossing.before, RESTART, *waited, *crossing.after]


def _toward(request: Request, device_id: str) -> Toward:
    content = request.messages[device_id]
    return pair_of(request.sender, request.message_type, content), device_id
