"""What is looked at of a batch, and what is counted of it."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

from synapse_withheld.config import RulesConfig
from synapse_withheld.delivery.settling import stored_size
from synapse_withheld.operators import series
from synapse_withheld.operators.tally import Count
from tests.model.play import ABROAD, NOTICE, RECIPIENT, SENDER, SESSION, WITHHELD, Play
from tests.model.telling import plays
from tests.unit.delivery.played import counting, known

# What nobody looks at, since there is too much of it.
test_too_much = plays()("""
    of all users together so many messages are looked at
        limit MOST_SORTED 5; begin notice to D1-D3,@q:here/A,@q:here/B; rest
        why: unknown_device*5
        begin notice to D1-D3,@q:here/A,@q:here/B,@q:here/C; rest; why: limit*6
    a notice for all of so many devices supersedes in each
        limit MOST_SORTED 5; add D1-D5; send notice to D1-D5; why: first*5
        send notice to *; why: wildcard*5; begin notice to D5; waiting: 3
    of more it leaves the others in doubt, and is counted once for each
        limit MOST_SORTED 5; add D1-D7; add @q:here/A; send notice to @q:here/A
        send notice to D1-D4; send notice to D5-D7; unknown: R; why: first*8
        begin notice to *; unknown: D6 D7 R; rest; why: wildcard*5
        begin notice to D1; begin notice to D7; begin notice to @q:here/A
        waiting: 7
    only the mailboxes that it names are doubted
        limit MOST_SORTED 5; add R2; send notice to R,R2
        begin notice to R,I1-I5; unknown: R
    and none where it names others
        limit MOST_SORTED 5; send notice; begin notice to I1-I6; unknown:
    or all of a user's, but nobody else's
        limit MOST_SORTED 5; add R2; add @q:here/A; send notice to R,R2
        send notice to @q:here/A; begin notice to *,I1-I5; unknown: R R2; rest
        begin notice to @q:here/A; waiting: 4
    no server ends belief in what others said
        limit MOST_SORTED 5; send notice by @s:there
        begin notice to R,I1-I5 by @s:there in elsewhere/1
        hold store; begin notice by @s:there; waiting: 3
    nothing of its sender collapses before all of it is stored
        limit MOST_SORTED 5; begin notice.new to R,I1-I5; hold store
        begin notice.new to R,I1-I5; steps; begin notice; steps
        begin notice; waiting:; free; rest; send notice; begin notice; waiting: 6
""")

test_settling = plays()("""
    what cannot be sorted hides nothing behind it
        send notice; begin notice to @r\0:here/R,\0,\udfff + session to R2 + notice
        waiting: 2; remembered: 1 1; rest; collapsed: 2
    nothing is believed while something else of the pair is in flight
        send notice; begin notice.new; hold store; begin notice; waiting:; free
        rest; queued: 3; why: first new_key not_repeated
    equal copies and other pairs are harmless
        add R2; send notice; begin notice.new to R2; begin notice.new.S2
        begin notice.new by @t:here; hold store; begin notice; waiting: 5
        wait 0.6; begin notice; waiting:; answer confirm; begin notice; waiting: 7
    of rows that are settled in another order the newest stays
        begin notice; hold store; begin notice; steps; free; rest; queued: 2
    unless the older one holds more
        begin notice to there/A,there/B; hold store; begin notice to there/A
        steps; free; rest; outbox: 1 2
    what is stored into a mailbox opened meanwhile ends belief there
        begin notice.new; hold store; forget R; send notice; unknown:; free store
        steps; begin notice; waiting:
    what is in flight is re-armed by what passes
        begin notice; hold store; begin olm; free; steps; begin notice; waiting:
        steps; begin notice; waiting: 4
    also by what its recipient sends
        begin notice; hold store; begin olm to @s:here/S1 by @r:here; free; steps
        begin notice; waiting:; steps; begin notice; waiting: 4
""")
test_what_is_stale_goes_where_it_was_seen_being_stored = plays(
    rules=RulesConfig(key_requests=True)
)("""
    for what is newest, also if that was stored since it was looked
        register; send request; doubt R; begin request.2; until learn
        carry-out learn; hold learn; begin request.1.S1.b; steps; free; rest
        queued: 3
""")


def test_each_withheld_message_counts_by_its_own_code() -> None:
    play = Play(rules=RulesConfig(withheld=True))
    count = counting(play, series.MESSAGES, "code", "source")
    decisions = counting(play, series.DECISIONS, "rule", "queue", "reason")
    each = {"A": NOTICE, "B": SESSION, "C": {}}
    play.begin_all({(RECIPIENT, device): what for device, what in each.items()})
    play.begin(NOTICE, ["A", "B"], edu=("there", "1"))

    assert {
        "m.no_olm local": 1,
        "m.unverified local": 1,
        "malformed local": 1,
        "m.no_olm federation": 2,
    } == count()
    assert {"no_olm inbox spoofed_sender": 2} == decisions()


def test_what_nobody_looked_at_is_counted_as_of_no_rule() -> None:
    """And of devices that do not exist, nothing came for them."""
    play = Play()
    count = counting(play, series.DECISIONS, "rule", "queue", "reason")
    play.send(NOTICE, "invented")
    play.send(NOTICE, list(map(str, range(300))))

    assert {"no_olm inbox unknown_device": 1, "none inbox limit": 300} == count()
    assert 301 == play.tally.history.of("deliver")[-1]
    assert [] == play.tally.recipients.most(9)
    play.send(NOTICE, "*")
    assert [Count(("no_olm", (RECIPIENT, "*")), 1, 0)] == play.tally.recipients.most(9)


def test_of_a_batch_that_was_not_sorted_all_it_names_is_forgotten() -> None:
    """In each queue what is for it; `*` names all of the user's."""
    play = known("ABC")
    other = "@q:here"
    play.hs.add_device(other, "A")
    play.send(NOTICE, "A", to_user=other)
    play.send(NOTICE, ["X", "Y"], to_user=ABROAD)
    inbox, outbox = play.traffic.inbox, play.traffic.outbox
    # One of two is in flight by then.
    inbox.reader_never_acknowledges = Mock(side_effect=[False, ZeroDivisionError])
    play.begin(NOTICE, ["A", "B"])
    assert ["C"] == play.memory.devices_of(RECIPIENT)
    assert [] == list(play.memory._in_flight)
    inbox.device_list_id = outbox.device_list_id = Mock(side_effect=ZeroDivisionError)
    play.begin(NOTICE, "*")
    play.begin(NOTICE, "X", to_user=ABROAD)

    assert [] == play.memory.devices_of(RECIPIENT)
    assert ["A"] == play.memory.devices_of(other)
    assert ["Y"] == outbox.memory.devices_of(ABROAD)


def test_the_bytes_of_all_that_collapsed_are_counted() -> None:
    """By queue, as often as each would have been stored; and the notices."""
    play = known("ABC")
    play.send(NOTICE, "A", to_user=ABROAD)
    count = counting(play, series.COLLAPSED_BYTES, "queue")
    twice = {**NOTICE, "reason": "ä"}
    contents = {"A": twice, "B": twice, "C": NOTICE}
    play.begin_all({(RECIPIENT, device): what for device, what in contents.items()})
    play.hs.come_to_rest()
    play.send(NOTICE, "A", to_user=ABROAD)

    two, one = (
        len(json.dumps(message, separators=(",", ":")))
        for content in (twice, NOTICE)
        for message in [{"content": content, "type": WITHHELD, "sender": SENDER}]
    )
    assert {"inbox": 2 * two + one, "outbox": one} == count()
    assert [Count(("no_olm", SENDER), 8, 0)] == play.tally.senders.most(9)
    assert 4 == play.tally.history.of("collapse")[-1]


def test_what_cannot_be_encoded_takes_no_bytes() -> None:
    deep: list[Any] = []
    deep.append(deep)

    assert 0 == stored_size({"content": deep})
    assert 0 == stored_size({"content": object()})
