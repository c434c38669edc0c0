"""A comparison finds what is lost, and nothing where all is redundant."""

from __future__ import annotations

from typing import Any, Callable, cast

import pytest

from tests.harness.messages import ENCRYPTED, PLAIN, WITHHELD, make_message
from tests.model.client import TRACING
from tests.soak.comparing import compare
from tests.soak.history import History
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import make_people
from tests.soak.talk import Said


def problems_of(events: str) -> list[str]:
    """Let one device send another messages; compare what it was given."""
    nothing = cast("Any", None)
    life = Life(0, make_people(2, 0, 0))
    stock, module = (Lane(each, *[nothing] * 3) for each in ("stock", "module"))
    sender, recipient = (user.devices[0] for user in life.people)
    on_stock, on_module = History(), History()
    stock.histories[recipient.place] = on_stock
    module.histories[recipient.place] = on_module

    def send(kind: str, content: Any, number: int) -> None:
        content = {**content, TRACING: str(number)}
        life.note(number, Said(sender, kind, {recipient.user: {"DEVICE0": content}}))
        module.asked[number] = 10 * number, 10 * number
        message = make_message(sender.user.user_id, content, kind)
        on_stock.given[number] = message

    def answer(number: int) -> None:
        life.note(number, Said(recipient, ENCRYPTED, {sender.user: {}}))

    def read(*numbers: int, step: int = 2) -> None:
        on_module.take([on_stock.given[each] for each in numbers], again=False)
        on_module.reads.append(10 * step)

    happen: dict[str, Callable[..., object]] = {
        "notice": lambda number: send(WITHHELD, sender.notice(0), number),
        "plain": lambda number: send(PLAIN, {}, number),
        "olm": lambda number: send(ENCRYPTED, sender.encrypted_for(recipient), number),
        "answer": answer,
        "read": read,
        "given": lambda *numbers: read(*numbers, step=100),
        "died": lambda: module.deaths.append((20.0, 30.0)),
        "cut_off": module.patience.cut_off.add,
    }
    for event in events.split(", "):
        what, *numbers = event.split()
        happen[what](*map(int, numbers))
    return compare(life, stock, module)[0]


LOST, OTHERWISE = ": lost: ", "knows otherwise"


# What happens, by the numbers of the messages, and what is wrong with it. What is read
# is read in step 2, what is given in the end.
@pytest.mark.parametrize(
    ("events", "problems"),
    [
        ("notice 1, notice 2, given 1", []),
        ("notice 1, notice 2, given 2", []),
        ("notice 2, read, notice 3, given 2", []),
        ("notice 1, notice 2, given", [LOST, LOST, OTHERWISE]),
        ("notice 1, plain 2, given 1", [LOST, OTHERWISE]),
        ("notice 1, olm 2, notice 3, given 1 2", [LOST]),
        ("notice 1, answer 2, notice 3, given 1", [LOST]),
        ("notice 1, read 1, notice 3, given", [LOST]),
        ("notice 1, read, notice 3, given 3", [LOST]),
        ("notice 1, died, notice 4, given 1", [LOST]),
        (
            "plain 1, plain 2, plain 3, cut_off 1, given 1 1 3 2 2",
            ["twice", "out of order", OTHERWISE],
        ),
    ],
)
def test_what_is_no_duplicate_is_missed(events: str, problems: list[str]) -> None:
    """And of what is one nothing is said."""
    found = problems_of(events)
    assert len(problems) == len(found)
    assert all(map(str.__contains__, found, problems))
