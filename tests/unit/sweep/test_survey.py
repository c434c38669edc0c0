"""A survey of parts: together they find what one survey of everything finds."""

from __future__ import annotations

from typing import Any, Iterable

from hypothesis import given
from hypothesis import strategies as st

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config
from synapse_withheld.database.backlog import Place
from synapse_withheld.database.survey import InboxRow, OutboxPlace, SurveyDatabase
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.survey import ALL_RULES, Survey, Surveyed
from synapse_withheld.sweep.walk import Options
from tests.harness.backlog import FakeRows, notice, other, text_of

USERS = st.sampled_from(["@a:hs", "@b:hs", "@c:hs", "@é:hs"])
# Not every middle has a mailbox, and there may be none on one side.
MIDDLES = USERS | st.sampled_from(["@", "@aa:hs", "@z:hs", "@ü:hs"])
PLACES = st.tuples(USERS, st.sampled_from(["", "D", "E"]), st.integers(0, 9))
TEXTS = st.sampled_from(
    [
        notice(),
        notice("other"),
        notice(code="m.unavailable", room_id="!r:hs", session_id="s"),
        other(),
        text_of("@s:hs", "m.room_key_request", {"action": "request"}),
        "nonsense",
    ]
)
TABLES = st.dictionaries(PLACES, TEXTS, max_size=30)
OUTBOXES = st.dictionaries(
    st.tuples(st.sampled_from("xyz"), st.integers(1, 9)), TEXTS, max_size=8
)
OWNERS = st.dictionaries(
    st.tuples(USERS, st.sampled_from(["", "D", "E"])), st.booleans()
)


class FakeQueues(FakeRows, SurveyDatabase):
    """Both queues in memory, as a survey sees them."""

    def __init__(
        self,
        inbox: dict[Place, str],
        outbox: dict[OutboxPlace, str],
        owners: dict[MailboxKey, bool],
    ) -> None:
        super().__init__(inbox)
        self.outbox = outbox
        self.hidden = owners

    async def read_inbox(
        self, before: Place | None, limit: int, down_to: str
    ) -> list[InboxRow]:
        rows = await self.read(before, limit)
        return [
            (*row[:3], row[3] or "", len(row[3] or ""))
            for row in rows
            if row[0] >= down_to
        ]

    async def read_outbox(self, before: OutboxPlace | None, limit: int) -> Any:
        places = sorted(self.outbox, reverse=True)
        after = [each for each in places if before is None or each < before]
        return [
            (*each, self.outbox[each], len(self.outbox[each])) for each in after[:limit]
        ]

    async def owners(self, mailboxes: Iterable[MailboxKey]) -> dict[MailboxKey, bool]:
        return {each: self.hidden[each] for each in mailboxes if each in self.hidden}


@given(TABLES, OUTBOXES, OWNERS, MIDDLES, st.integers(1, 4), st.integers(1, 6))
def test_parts_find_together_what_one_survey_finds(
    inbox: dict[Place, str],
    outbox: dict[OutboxPlace, str],
    owners: dict[MailboxKey, bool],
    middle: str,
    limit: int,
    batch_size: int,
) -> None:
    options = Options(batch_size, Ruleset.of(Config(rules=ALL_RULES)), dry_run=True)

    def found(**part: Any) -> Surveyed:
        database = FakeQueues(inbox, outbox, owners)
        survey = Survey(database, options, limit, **part)
        while not survey.found.done:
            driven(survey.step())
        return survey.end()

    whole, both = found(), found(down_to=middle)
    both.follow(found(below=middle))
    assert told(whole) == told(both)


def told(found: Surveyed) -> Any:
    """Return what is printed of it."""
    queues = [
        (each.kinds, list(each.kinds.sums), each.names, each.longest)
        for each in (found.inbox, found.outbox)
    ]
    return (queues, found.gone, found.hidden, found.swept.rules, found.done)
