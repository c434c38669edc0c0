"""Learning all mailboxes of a user, where something was sent to all of them."""

from __future__ import annotations

from typing import Collection, cast

import attrs
import pytest

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.database.database import Database
from synapse_withheld.delivery.housekeeping import users
from synapse_withheld.delivery.housekeeping.users import LearningOfUsers
from synapse_withheld.delivery.shares import MOST_OF_ONE, MOST_TRIES
from synapse_withheld.memory.memory import Limits, Mailbox, Memory
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.no_olm import WHOLE, NoOlm
from synapse_withheld.rules.notice import Notice, Pair
from synapse_withheld.rules.redundant import Row

USER, OTHER = "@r:here", "@q:here"
STREAM = 50
ROW = Row(7, Notice(NoOlm(), Pair("@s:here", "device:S", "type"), "key", WHOLE))


@attrs.define
class Devices:
    """A database that knows the devices of users."""

    known: dict[str, list[str]]
    asked: list[list[str]] = attrs.Factory(list)
    fails: bool = False

    async def read_devices(self, users: Collection[str]) -> dict[str, list[str]]:
        self.asked.append(list(users))
        if self.fails:
            raise RuntimeError
        return {user: self.known[user] for user in users if user in self.known}


@attrs.define
class Around:
    """What learns users, and what it is told of."""

    users: LearningOfUsers
    memory: Memory
    database: Devices
    learned: list[tuple[Mailbox, str, Row | None]]

    def do_some(self) -> None:
        driven(self.users.do_some())

    def told(self) -> list[tuple[MailboxKey, str, Row | None]]:
        """Return which mailboxes are to be learned, for whom, and with which row."""
        return [(mailbox.key, who, row) for mailbox, who, row in self.learned]


@pytest.fixture
def around() -> Around:
    memory = Memory(Limits(1000), sees_reads=True, hold_s=None)
    database = Devices({USER: ["A", "B"], OTHER: ["C"]})
    learned: list[tuple[Mailbox, str, Row | None]] = []
    users = LearningOfUsers(
        memory,
        cast(Database, database),
        lambda *told: learned.append(told),
        lambda: STREAM,
    )
    return Around(users, memory, database, learned)


def test_all_devices_of_a_user_are_learned(around: Around) -> None:
    """From where the stream is, each on behalf of who sent to them, with the row."""
    around.users.add(USER, "a", ROW)
    around.users.add(OTHER, "b", None)
    assert (2, True) == (len(around.users), around.users.is_ready)
    around.do_some()

    expected = [((USER, "A"), "a", ROW), ((USER, "B"), "a", ROW)]
    assert [*expected, ((OTHER, "C"), "b", None)] == around.told()
    for mailbox, _, _ in around.learned:
        assert mailbox is around.memory.peek(mailbox.key)
        assert STREAM == mailbox.handed_out
    assert (0, False) == (len(around.users), around.users.is_ready)
    assert set() == around.users._queued


def test_a_user_is_asked_about_once(around: Around) -> None:
    """And again once there is an answer; an unknown one has no devices."""
    for _ in range(2):
        around.users.add(USER, "a", ROW)
    around.users.add("@nobody:here", "a", ROW)
    around.do_some()
    around.users.add(USER, "a", None)
    around.do_some()

    assert [[USER, "@nobody:here"], [USER]] == around.database.asked
    # What is remembered by then is not learned again.
    assert 2 == len(around.learned)


def test_of_so_many_users_one_statement_asks(
    around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "MOST_USERS", 1)
    monkeypatch.setattr(users, "MOST_DEVICES", 1)
    around.users.add(USER, "a", ROW)
    around.users.add(OTHER, "a", ROW)
    around.do_some()
    assert [((USER, "A"), "a", ROW)] == around.told()
    around.do_some()

    assert [[USER], [OTHER]] == around.database.asked


def test_a_user_who_does_not_fit_is_not_waited_for(around: Around) -> None:
    for number in range(MOST_OF_ONE):
        around.users.add(f"@{number}:here", "a", None)
    around.users.add(USER, "a", ROW)
    assert USER not in around.users._queued
    around.users.add(USER, "b", ROW)

    assert USER in around.users._queued


def test_what_fails_is_tried_again_and_given_up_in_the_end(around: Around) -> None:
    around.database.fails = True
    around.users.add(USER, "a", ROW)
    for _ in range(MOST_TRIES):
        assert {USER} == around.users._queued
        with pytest.raises(RuntimeError):
            around.do_some()
    assert (0, set()) == (len(around.users), around.users._queued)

    around.database.fails = False
    around.users.add(USER, "a", ROW)
    around.do_some()
    assert [((USER, "A"), "a", ROW), ((USER, "B"), "a", ROW)] == around.told()
