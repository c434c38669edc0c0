"""What the review of the design found, each with the sequence that shows it.

Numbered as in `docs/design.md`. Findings 3, 7 and 8 are also shown on the parts that
they concern, in `tests/unit`; 1, 3, 4, 5 and 9 on a real Synapse, in `tests/e2e`.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.python.failure import Failure

from tests.model.play import NOTICE, OLM, RECIPIENT, WITHHELD, Play


def test_finding_1_a_retransmission_deletes_nothing() -> None:
    """Synapse stores nothing of a repeated EDU, so nothing is superseded by it."""
    play = Play()
    edu = {"sender": "@s:there", "edu": ("there", "1")}
    play.send(NOTICE, **edu)
    assert [1] == play.queued()

    play.load()
    play.send(NOTICE, **edu)

    assert [1] == play.queued()
    assert not play.index._in_flight


def test_finding_1_a_row_that_was_rolled_back_supersedes_nothing() -> None:
    """The deletion itself looks for the newer row, and the mailbox is read again."""
    play = Play()
    play.send(NOTICE)
    request = play.begin({**NOTICE, "sender_key": "new"})
    play.hs.take_step()
    play.hs.take_step()
    # The rows vanish although they were observed, as after a retried transaction.
    play.hs.rows("DELETE FROM device_inbox WHERE stream_id = 2")
    play.hs.come_to_rest()

    assert request.called
    assert [1] == play.queued()
    play.send({**NOTICE, "sender_key": "new"})
    assert [3] == play.queued()


def test_finding_2_an_olm_message_on_its_way_rearms_at_once() -> None:
    """Before it is stored: its position may be lower than the notice's answer."""
    play = Play()
    play.send(NOTICE)
    play.begin(OLM, message_type="m.room.encrypted")
    play.hs.take_step()
    notice = play.begin(NOTICE)
    play.hs.take_step(1)

    assert play.steps() == ["stored", "store"]
    play.hs.come_to_rest()
    assert notice.called
    assert [2, 3] == play.queued()


def test_finding_2_an_olm_message_rearms_what_is_stored_meanwhile() -> None:
    """After it was stored too: a notice may have come in between."""
    play = Play()
    play.send({**NOTICE, "from_device": "another"})
    olm = play.begin(OLM, message_type="m.room.encrypted")
    notice = play.begin(NOTICE)
    while not notice.called:
        play.hs.take_step(-1)
    assert not olm.called
    play.hs.come_to_rest()

    play.send(NOTICE)

    assert [1, 2, 4] == play.queued()


def test_finding_2_a_failed_write_forgets_the_mailbox() -> None:
    """Nobody knows whether its rows are there."""
    play = Play()
    play.send(NOTICE)
    play.send(OLM, message_type="m.room.encrypted")
    request = play.begin(NOTICE)
    play.hs.take_step()
    play.hs.take_step(error=RuntimeError("the connection was lost"))

    assert not play.index.knows((RECIPIENT, "R"))
    request.addErrback(Failure.trap, RuntimeError)
    play.send(NOTICE)
    assert [2, 4] == play.queued()


def test_finding_3_a_wildcard_is_not_left_alone() -> None:
    """Taking R out of {*, R} would send the message to every device."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE)
    play.send(NOTICE, ["*", "R"])

    assert [2] == play.queued()
    assert [] == play.queued("R2")


def test_finding_4_a_poisoned_device_id_reaches_no_statement() -> None:
    """It is passed on, and the others in its batch are still decided about."""
    play = Play()
    play.send(NOTICE)
    play.begin(NOTICE, ["R", "\0", "\ud800"])

    assert play.steps() == ["withheld_read_queued"]
    play.hs.take_step()
    assert play.steps() == ["store"]


def test_finding_5_a_row_doomed_by_a_task_does_not_count_as_queued() -> None:
    """The notice is stored beside it, and the task finds its rows untouched."""
    play = Play()
    play.send(NOTICE)
    params = {"user_id": RECIPIENT, "device_id": "R", "up_to_stream_id": 1}
    text = json.dumps(params, separators=(",", ":"))
    task = ("delete_device_messages", "active", "R", text)
    play.hs.rows("INSERT INTO scheduled_tasks VALUES (?, ?, ?, ?)", *task)

    play.send(NOTICE)
    assert [1, 2] == play.queued()
    play.send(NOTICE)
    assert [1, 2] == play.queued()
    play.load()
    play.send(NOTICE)
    assert [1, 2, 3] == play.queued()


def test_finding_5_a_task_for_somebody_elses_device_dooms_nothing() -> None:
    """Device IDs are not unique across users."""
    play = Play()
    play.send(NOTICE)
    params = {"user_id": "@other:here", "device_id": "R", "up_to_stream_id": 9}
    text = json.dumps(params, separators=(",", ":"))
    task = ("delete_device_messages", "active", "R", text)
    play.hs.rows("INSERT INTO scheduled_tasks VALUES (?, ?, ?, ?)", *task)

    play.send(NOTICE)
    assert [1] == play.queued()
    play.send({**NOTICE, "sender_key": "new"})
    assert [2] == play.queued()


def test_finding_5_a_device_that_changed_gets_the_notice_again() -> None:
    """It may have been deleted and made again, before the task is to be seen."""
    play = Play()
    play.send(NOTICE)
    play.hs.change_device(RECIPIENT, "R")
    play.send(NOTICE)
    assert [2] == play.queued()

    play.send(NOTICE)
    assert [2] == play.queued()


def test_finding_6_invented_devices_are_not_remembered() -> None:
    """However many; and one request for them makes one short read."""
    play = Play(max_mailboxes=2)
    play.send(NOTICE)
    play.begin(NOTICE, [f"invented {number}" for number in range(150)])
    assert play.steps() == ["withheld_read_mailboxes"]
    play.hs.come_to_rest()

    assert play.index.knows((RECIPIENT, "R"))
    assert 1 == len(play.index)


def test_finding_6_a_first_reading_is_bounded_in_rows_and_bytes() -> None:
    """It looks at the newest rows, and at the beginning of each."""
    play = Play()
    long = {**NOTICE, "reason": "x" * 10_000}
    for stream_id in range(1, 1202):
        content = long if stream_id == 1201 else {**NOTICE, "from_device": "S"}
        message = {"content": content, "type": WITHHELD, "sender": "@s:here"}
        row = (RECIPIENT, "R", stream_id, json.dumps(message))
        play.hs.rows("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", *row)
    play.hs.next_stream_id = 1202

    play.send({**NOTICE, "from_device": "T"})

    # Of the newest 1,000 rows, 999 are copies: the newest stays, and the long one.
    assert [*range(1, 202), 1200, 1201, 1202] == play.queued()


def test_finding_7_a_device_id_that_looks_like_a_key_is_another_device() -> None:
    """The two identities never meet."""
    play = Play()
    by_key = {**NOTICE, "sender_key": "K"}
    del by_key["from_device"]
    play.send(by_key)
    play.send({**NOTICE, "sender_key": "K", "from_device": "K"})

    assert [1, 2] == play.queued()


def test_finding_7_another_session_of_the_account_can_supersede_a_notice() -> None:
    """The sender chooses `from_device`; only its own account's notices are affected."""
    play = Play()
    play.send(NOTICE)
    play.send({**NOTICE, "sender_key": "another session's key"})
    assert [2] == play.queued()

    play.send({**NOTICE, "sender_key": "forged"}, sender="@mallory:here")
    assert [2, 3] == play.queued()


def test_finding_8_a_found_row_may_be_spoofed() -> None:
    """On an old Synapse it is superseded only by its own key."""
    play = Play(spoofs_possible=True)
    play.send(NOTICE)
    play.load()
    play.send({**NOTICE, "sender_key": "new"})
    assert [1, 2] == play.queued()

    play.load()
    play.send({**NOTICE, "sender_key": "new"})
    assert [1, 3] == play.queued()


def test_a_spoofed_sender_neither_collapses_nor_rearms() -> None:
    """What a server says of another server's users is left alone."""
    play = Play()
    play.send(NOTICE, sender="@s:there", edu=("there", "1"))
    play.send(NOTICE, sender="@s:there", edu=("elsewhere", "2"))
    assert [1, 2] == play.queued()

    spoofed = {"sender": "@s:there", "edu": ("elsewhere", "3")}
    play.send(OLM, message_type="m.room.encrypted", **spoofed)
    play.send(NOTICE, sender="@s:there", edu=("there", "4"))
    assert [1, 2, 3] == play.queued()


def test_a_notice_beside_a_hanging_statement_is_delivered() -> None:
    """Patience ends; the answer that comes late is still used."""
    play = Play()
    request = play.begin(NOTICE)
    assert play.steps() == ["withheld_read_mailboxes"]
    play.hs.clock.advance(3)
    assert play.steps() == ["withheld_read_mailboxes", "store"]
    play.hs.take_step(1)
    play.hs.come_to_rest()

    assert request.called
    assert [1] == play.queued()
    play.send(NOTICE)
    assert [1] == play.queued()


def test_a_sender_whose_lock_hangs_delays_nobody_else() -> None:
    """Its own later notices are delivered when patience ends."""
    play = Play()
    play.send({**NOTICE, "from_device": "other"})
    first, second = play.begin(NOTICE), play.begin(NOTICE)
    play.begin(NOTICE, sender="@t:here")
    assert play.steps() == ["store", "store"]
    play.hs.clock.advance(3)
    assert play.steps() == ["store", "store", "store"]
    play.hs.come_to_rest()

    assert first.called
    assert second.called
    assert 3 == len(play.queued())


def test_observe_decides_and_changes_nothing() -> None:
    """Every notice is stored."""
    play = Play(mode="observe")
    for _ in range(3):
        play.send(NOTICE)
    play.send({**NOTICE, "sender_key": "new"})
    play.send(NOTICE, "*")

    assert [1, 2, 3, 4, 5] == play.queued()


def test_a_reader_that_never_acknowledges_gets_the_newest() -> None:
    """Application services and dehydrated devices."""
    play = Play()
    play.send(NOTICE)
    play.hs.service_users.add(RECIPIENT)
    play.send(NOTICE)
    assert [2] == play.queued()

    play.hs.service_users.clear()
    play.hs.rows("INSERT INTO dehydrated_devices VALUES (?, ?)", RECIPIENT, "R")
    play.send(NOTICE)
    assert [3] == play.queued()


def test_a_wildcard_is_stored_whole_or_not_at_all() -> None:
    """As long as one device needs it, all get it and older ones are superseded."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE)
    play.send(NOTICE, "*")
    assert ([2], [2]) == (play.queued(), play.queued("R2"))

    play.send(NOTICE, "*")
    assert ([2], [2]) == (play.queued(), play.queued("R2"))


def test_a_device_that_is_called_like_a_wildcard_stands_for_itself() -> None:
    """What it has says nothing about the other devices."""
    play = Play()
    play.hs.add_device(RECIPIENT, "*")
    play.send(NOTICE, ["*", "GONE"])
    assert ([], [1]) == (play.queued(), play.queued("*"))

    play.send(NOTICE, "*")
    assert ([2], [2]) == (play.queued(), play.queued("*"))


def test_a_duplicate_costs_one_short_read() -> None:
    """And no write."""
    play = Play()
    play.send(NOTICE)
    request = play.begin(NOTICE)

    assert play.steps() == ["withheld_read_queued"]
    play.hs.take_step()
    assert request.called
    assert play.steps() == []


def test_one_request_to_a_thousand_devices_makes_few_statements() -> None:
    """Reads and deletions name many rows each."""
    play = Play()
    devices = [f"R{number}" for number in range(1000)]
    for device in devices:
        play.hs.add_device(RECIPIENT, device)
    names: list[str] = []
    for content in (NOTICE, NOTICE, {**NOTICE, "sender_key": "new"}):
        play.begin(content, devices)
        while play.hs.steps:
            names += play.steps()[:1]
            play.hs.take_step()

    ours = [name for name in names if name.startswith("withheld_")]
    assert ["withheld_read_mailboxes"] * 5 == ours[:5]
    assert ["withheld_read_queued"] * 10 == ours[5:15]
    assert ["withheld_delete_superseded"] * 7 == ours[15:]


def test_what_was_read_makes_room_for_new_pairs() -> None:
    """A device that lives on does not use up its limits."""
    play = Play(max_pairs_per_sender=2)
    for device in "AB":
        play.send({**NOTICE, "from_device": device})
    play.hs.acknowledge(RECIPIENT, "R", play.hs.stream_token())
    for _ in range(2):
        play.send({**NOTICE, "from_device": "C"})

    assert [3] == play.queued()


def test_beyond_a_limit_notices_are_delivered_untracked() -> None:
    """As long as what is remembered is queued."""
    play = Play(max_pairs_per_sender=2)
    for device in "ABCCA":
        play.send({**NOTICE, "from_device": device})

    assert [1, 2, 3, 4] == play.queued()


def test_a_failed_deletion_heals_with_the_next_notice() -> None:
    """The mailbox is forgotten, so that it is read again."""
    play = Play()
    play.send(NOTICE)
    play.begin({**NOTICE, "sender_key": "new"})
    play.hs.take_step()
    play.hs.take_step()
    play.hs.take_step()
    assert play.steps() == ["withheld_delete_superseded"]
    play.hs.take_step(error=RuntimeError("the database failed"))
    assert [1, 2] == play.queued()

    play.send({**NOTICE, "sender_key": "newer"})
    assert [3] == play.queued()


def test_a_monstrous_notice_costs_no_more_than_a_small_one() -> None:
    """Only the keys that the rule needs are looked at; the rest is Synapse's."""
    play = Play()
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    play.send({**NOTICE, "reason": "x" * 5_000_000})
    request = play.begin({**NOTICE, "reason": nested})
    assert play.steps() == ["withheld_read_queued"]
    play.hs.take_step()

    assert request.called
    assert [1] == play.queued()
    assert play.index.knows((RECIPIENT, "R"))


def test_a_notice_after_an_acknowledged_one_is_stored_and_nothing_deleted() -> None:
    """What was read needs no tidying."""
    play = Play()
    play.send(NOTICE)
    play.hs.acknowledge(RECIPIENT, "R", 1)
    play.begin(NOTICE)
    names: list[str] = []
    while play.hs.steps:
        names += play.steps()[:1]
        play.hs.take_step()

    assert ["withheld_read_queued"] * 2 + ["store", "stored"] == names
    assert [2] == play.queued()


def test_an_olm_message_to_all_devices_rearms_each() -> None:
    """A wildcard stands for all of them."""
    play = Play()
    play.send(NOTICE)
    play.send(OLM, "*", message_type="m.room.encrypted")
    play.send(NOTICE)

    assert [2, 3] == play.queued()


def test_while_it_stands_aside_everything_passes() -> None:
    """Without a statement; and afterwards nothing is taken for watched."""
    play = Play()
    play.send(NOTICE)
    for _ in range(5):
        play.begin(NOTICE)
        play.hs.take_step(error=RuntimeError("the database failed"))
        play.hs.come_to_rest()
    play.begin(NOTICE)
    assert play.steps() == ["store"]
    play.hs.come_to_rest()
    before = len(play.queued())
    assert before > 1

    play.hs.clock.advance(60)
    play.send(NOTICE)
    assert 1 == len(play.queued())


def test_a_superseded_row_goes_only_when_readers_see_the_newer_one() -> None:
    """An earlier position may still be in flight."""
    play = Play()
    play.send(NOTICE)
    slow = play.begin({"n": 1}, message_type="m.dummy")
    play.begin({**NOTICE, "sender_key": "new"})
    while len(play.hs.steps) > 1:
        play.hs.take_step(-1)
    assert play.steps() == ["store"]
    assert [1, 3] == play.queued()

    play.hs.come_to_rest()
    assert slow.called
    play.hs.clock.advance(0.05)
    play.hs.come_to_rest()
    assert [2, 3] == play.queued()


def test_a_wildcard_whose_devices_are_not_known_is_found_again() -> None:
    """What was stored for devices that nobody looked up is not left untracked."""
    play = Play()
    play.send(NOTICE)
    play.begin(NOTICE, "*")
    play.hs.take_step(error=RuntimeError("the database failed"))
    play.hs.come_to_rest()
    assert [1, 2] == play.queued()

    play.send(NOTICE)
    assert [3] == play.queued()


def test_whatever_fails_in_a_decision_the_batch_is_stored() -> None:
    """And its mailboxes are read again with the next notice."""
    play = Play()
    play.send(NOTICE)
    inbox = play.traffic.inbox
    working, inbox.device_list_id = inbox.device_list_id, lambda: 1 // 0
    play.send({**NOTICE, "sender_key": "new"})
    assert [1, 2] == play.queued()

    inbox.device_list_id = working
    play.send({**NOTICE, "sender_key": "new"})
    assert [3] == play.queued()


def test_a_type_that_is_no_string_is_stored_and_read_past() -> None:
    """Another server may send one; it must neither fail nor stop a reading."""
    play = Play()
    strange: Any = ["m.room_key.withheld"]
    for number in range(3):
        edu = {"sender": "@s:there", "edu": ("there", str(number))}
        play.send(NOTICE, message_type=strange, **edu)
    play.send(NOTICE)
    play.send(NOTICE)

    assert [1, 2, 3, 4] == play.queued()


def test_a_reading_that_fails_on_our_side_holds_up_no_other() -> None:
    """It gives back its place, and the mailbox is read again with the next notice."""
    play = Play()
    reader = play.traffic.inbox.judge.reader
    working = reader.found
    reader.found = lambda _: 1 // 0  # type: ignore[assignment]
    for _ in range(3):
        play.send(NOTICE)
        play.index.clear()
    assert [1, 2, 3] == play.queued()

    reader.found = working
    play.send(NOTICE)
    assert [4] == play.queued()
