"""What must be left of what was sent: a plain model, for any number of servers.

Nothing of the module is used here: its work is what is compared with this.
"""

from __future__ import annotations

from typing import Any, Iterable, Sequence

import attrs

from tests.demo.checks import NOTICE_TYPES
from tests.demo.federation.traffic import RECIPIENT, Crossing, Request
from tests.harness.clients.messages import ENCRYPTED, make_message
from tests.model.redundancy import goes, says_the_same

# The server started again: whoever watched has forgotten.
RESTART = None

History = Sequence["Request | None"]


@attrs.frozen
class Placement:
    """Which of two servers run the module."""

    sender: bool
    receiver: bool

    @property
    def name(self) -> str:
        if self.sender:
            return "both" if self.receiver else "sender"
        return "receiver" if self.receiver else "none"


PLACEMENTS = tuple(
    Placement(sender, receiver)
    for receiver in (False, True)
    for sender in (False, True)
)


@attrs.define(eq=False)
class _Entry:
    """An entry of a queue, with one message or several.

    Attributes:
        believed: For which devices it is the newest of its pair, and no Olm message
            passed since, nor anything that may have been missed.
    """

    request: Request
    believed: set[str]

    def says_all_of(self, request: Request, device_id: str) -> bool:
        return device_id in self.believed and says_the_same(
            _message(self.request, device_id),
            _message(request, device_id),
            merge_scopes=True,
        )

    def note_olm(self, olm: Request) -> None:
        sender = self.request.sender
        if (olm.sender, olm.to) == (RECIPIENT, sender):
            self.believed.clear()
        if (olm.sender, olm.to) == (sender, RECIPIENT):
            self.believed -= olm.messages.keys()


def left(history: Iterable[Request | None]) -> tuple[Request, ...]:
    """Return what the module leaves queued of what was to be queued, in order."""
    queue: list[_Entry] = []
    for each in history:
        if each is RESTART:
            for entry in queue:
                entry.believed.clear()
            continue
        if each.message_type == ENCRYPTED:
            for entry in queue:
                entry.note_olm(each)
        if each.message_type in NOTICE_TYPES:
            queue = _with_notices(queue, each)
        elif each.to == RECIPIENT:
            queue.append(_Entry(each, set()))
    return tuple(entry.request for entry in queue)


def _with_notices(queue: list[_Entry], request: Request) -> list[_Entry]:
    """Queue notices, but for those that a queued one stands for."""
    says_more = {
        device_id: content
        for device_id, content in request.messages.items()
        if not any(entry.says_all_of(request, device_id) for entry in queue)
    }
    if not says_more:
        return queue
    for entry in [*queue]:
        gone = [each for each in says_more if _goes(entry.request, request, each)]
        entry.believed -= {*gone}
        # What also holds another message is never changed.
        if len(entry.request.messages) == len(gone) == 1:
            queue.remove(entry)
    new = attrs.evolve(request, messages=says_more)
    return [*queue, _Entry(new, {*says_more})]


def _goes(older: Request, newer: Request, device_id: str) -> bool:
    return device_id in older.messages and goes(
        _message(older, device_id),
        _message(newer, device_id),
        merge_scopes=True,
        newer_seen=True,
    )


def outbox(history: History, placement: Placement) -> tuple[Request, ...]:
    """Return what must wait while the receiver is away, in order."""
    return left(history) if placement.sender else tuple(filter(None, history))


def mailbox(history: History, placement: Placement) -> tuple[Request, ...]:
    """Return what must be in the recipient's mailboxes, in order.

    A row for each message, whatever they came in.
    """
    rows: list[Request | None] = []
    for each in history:
        if each is RESTART:
            rows.append(RESTART)
        else:
            one_each = ({device: each.messages[device]} for device in each.messages)
            rows += [attrs.evolve(each, messages=one) for one in one_each]
    if placement.receiver:
        return left(rows)
    return tuple(each for each in rows if each is not None and each.to == RECIPIENT)


def arrived(crossing: Crossing, placement: Placement) -> list[Request | None]:
    """Return what arrives, in order: what waited comes after the restart."""
    waited = outbox(crossing.away, placement)
    return [*crossing.before, RESTART, *waited, *crossing.after]


def _message(request: Request, device_id: str) -> dict[str, Any]:
    content = request.messages[device_id]
    return make_message(request.sender, content, request.message_type)
