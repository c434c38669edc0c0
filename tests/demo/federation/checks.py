"""What became of messages to a server that was away, and what had to: pure."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, Callable, Iterable, List, Mapping, Sequence, Tuple

import attrs

from tests.demo.checks import (
    NOTICE_TYPES,
    Check,
    canonical,
    difference,
    no_failed_sends,
)
from tests.demo.federation.reference import Placement, arrived, mailbox, outbox
from tests.demo.federation.traffic import Crossing, Request
from tests.demo.output.table import NOTHING, aligned
from tests.demo.traffic import AWAY

# Messages by device and sender, in order. Those of different senders overtake each
# other on their way, with and without the module.
Lanes = Mapping[Tuple[str, str], List[str]]


@attrs.frozen
class Crossed:
    """What became of the messages, with the module in one placement.

    All texts are JSON, with the people named as in the requests.

    Attributes:
        waited: The EDUs that waited while the receiver was away.
        mailboxes: The rows of each device in the end, before its next sync.
        synced: What the device that was away got then.
        syncs: How many syncs it took to have the last room key.
        failed: How many requests were not answered 200.
        failures: How many failures of its own the module counts, on both servers.
        active: On how many servers it says that it acts.
    """

    placement: Placement
    waited: tuple[str, ...]
    mailboxes: Mapping[str, tuple[str, ...]]
    synced: tuple[str, ...]
    syncs: int
    failed: int
    failures: int
    active: int


def check(crossing: Crossing, outcomes: Sequence[Crossed]) -> tuple[Check, ...]:
    """Check all that has to hold; the first outcome is that without the module."""
    stock = lanes(outcomes[0].mailboxes, others)
    facts: dict[str, Callable[[Crossed], str]] = {
        "what waited for the server that was away is what the model says": (
            lambda one: waited_otherwise(
                one.waited, outbox(crossing.away, one.placement)
            )
        ),
        "what is left in the mailboxes is what the model says": (
            lambda one: left_otherwise(
                one.mailboxes, expected_rows(crossing, one.placement)
            )
        ),
        "every other message is stored byte for byte as without the module": (
            lambda one: _difference(stock, lanes(one.mailboxes, others))
        ),
        "the next syncs give all that is in the mailbox": synced_otherwise,
        "the module acted where it was, without failures of its own": misdeeds,
    }
    found = []
    for fact, trouble in facts.items():
        troubles = {one.placement.name: trouble(one) for one in outcomes}
        told = (f"{name}: {text}" for name, text in troubles.items() if text)
        found.append(Check(fact, "; ".join(told)))
    failed = {one.placement.name: one.failed for one in outcomes}
    return (*found, no_failed_sends(failed))


def expected_rows(crossing: Crossing, placement: Placement) -> tuple[Request, ...]:
    return mailbox(arrived(crossing, placement), placement)


def waited_otherwise(waited: Iterable[str], expected: Iterable[Request]) -> str:
    """Return how EDUs differ from what is expected; empty if nowhere."""
    found = [
        canonical([edu["sender"], edu["type"], *edu["messages"].values()])
        for edu in map(json.loads, waited)
    ]
    return difference(
        [canonical([e.sender, e.message_type, e.messages]) for e in expected], found
    )


def left_otherwise(
    mailboxes: Mapping[str, Iterable[str]], expected: Iterable[Request]
) -> str:
    """Return how mailboxes differ from what is expected; empty if nowhere.

    Which of equal copies stays that arrive at once is chance, and so is its place.
    """
    rows: dict[str, list[str]] = {device: [] for device in mailboxes}
    for each in expected:
        for device, content in each.messages.items():
            message = {"sender": each.sender, "type": each.message_type}
            rows[device].append(_said({**message, "content": content}))
    found = {
        device: [_said(json.loads(text)) for text in texts]
        for device, texts in mailboxes.items()
    }
    expected_lanes, found_lanes = (
        {place: sorted(lane) for place, lane in lanes(each).items()}
        for each in (rows, found)
    )
    return _difference(expected_lanes, found_lanes)


def synced_otherwise(one: Crossed) -> str:
    """Return how what was synced differs from the mailbox; empty if nowhere."""
    return difference(_canonical(one.mailboxes[AWAY]), _canonical(one.synced))


def misdeeds(one: Crossed) -> str:
    expected = one.placement.sender + one.placement.receiver
    if one.active != expected:
        return f"it acts on {one.active} of {expected} servers"
    return f"it counts {one.failures} failures" if one.failures else ""


def others(text: str) -> bool:
    return json.loads(text)["type"] not in NOTICE_TYPES


def lanes(
    mailboxes: Mapping[str, Iterable[str]],
    wanted: Callable[[str], bool] = lambda _: True,
) -> Lanes:
    """Return the rows of each sender in each mailbox, in order."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for device, texts in mailboxes.items():
        for text in filter(wanted, texts):
            found[device, json.loads(text)["sender"]].append(text)
    return found


def make_table(outcomes: Sequence[Crossed], *, markdown: bool) -> str:
    """Put the placements side by side."""
    rows = [("the module is on", *(one.placement.name for one in outcomes))]
    counts: dict[str, Callable[[Crossed], int]] = {
        "EDUs waiting while the other server is down": lambda one: len(one.waited),
        "rows in the mailboxes after it is back": lambda one: len(_rows(one)),
        "of these, notices": lambda one: len(_rows(one)) - sum(map(others, _rows(one))),
        "syncs until the last room key": lambda one: one.syncs,
        "requests that failed": lambda one: one.failed,
    }
    for label, count in counts.items():
        rows.append((label, *(f"{count(one):,}" for one in outcomes)))
    failures = (f"{one.failures:,}" if one.active else NOTHING for one in outcomes)
    return aligned([*rows, ("failures of the module", *failures)], markdown=markdown)


def _rows(one: Crossed) -> list[str]:
    return [text for texts in one.mailboxes.values() for text in texts]


def _difference(expected: Lanes, found: Lanes) -> str:
    """Return the first difference of each lane; empty if there is none."""
    troubles = {
        place: difference(expected.get(place, []), found.get(place, []))
        for place in sorted({*expected, *found})
    }
    return "; ".join(f"{place}: {text}" for place, text in troubles.items() if text)


def _said(message: dict[str, Any]) -> str:
    """Return a message without what tells its copies apart."""
    content = {**message["content"]}
    for name in ("reason", "org.matrix.msgid"):
        content.pop(name, None)
    return canonical({**message, "content": content})


def _canonical(texts: Iterable[str]) -> list[str]:
    return [canonical(json.loads(text)) for text in texts]
