"""Clauses of the rule, each with the shortest sequence that shows it.

Those that the review found are in `test_findings.py`.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.python.failure import Failure

from tests.model.play import ABROAD, NOTICE, OLM, RECIPIENT, WITHHELD, Play

ENCRYPTED = "m.room.encrypted"


def test_the_older_type_collapses_too() -> None:
    """Older clients send it, alone or beside the stable one."""
    play = Play()
    for _ in range(2):
        play.send(NOTICE, message_type="org.matrix.room_key.withheld")

    assert [1] == play.queued()


def test_an_olm_message_of_the_recipient_rearms() -> None:
    """The pairs of the key that it is encrypted for, with all of its devices."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    answer = {**OLM, "sender_key": "the recipient's", "ciphertext": {"key": {}}}
    message: dict[str, Any] = {"message_type": ENCRYPTED, "sender": RECIPIENT}
    play.send(answer, "S1", to_user="@s:here", **message)
    play.send(NOTICE, ["R", "R2"])

    assert ([3], [3]) == (play.queued(), play.queued("R2"))


def test_an_olm_message_of_the_recipient_to_another_key_does_not() -> None:
    """Another device of the sender has its own session."""
    play = Play()
    play.send(NOTICE)
    answer = {**OLM, "sender_key": "key", "ciphertext": {"another key": {}}}
    message: dict[str, Any] = {"message_type": ENCRYPTED, "sender": RECIPIENT}
    play.send(answer, "S2", to_user="@s:here", **message)
    play.send(NOTICE)

    assert [1] == play.queued()


def test_what_was_queued_before_a_restart_is_superseded() -> None:
    """An Olm message may have passed in between."""
    play = Play()
    play.send(NOTICE)
    play.load()
    play.send(NOTICE)
    assert [2] == play.queued()

    play.send(NOTICE)
    assert [2] == play.queued()


def test_a_notice_that_did_not_wait_its_turn_is_no_proof() -> None:
    """What is stored while another is decided about was not looked up for it."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send({**NOTICE, "from_device": "S2"}, ["R", "R2"])
    play.send(NOTICE, "R2")
    slow = play.begin({**NOTICE, "from_device": "S3"})
    impatient = play.begin(NOTICE)
    play.hs.clock.advance(3)
    play.hs.take_step()
    play.hs.take_step(1)
    assert slow.called
    both = play.begin(NOTICE, ["R", "R2"])
    assert play.steps() == ["store", "withheld_read_queued"]
    play.hs.take_step()
    play.hs.take_step(1)
    assert impatient.called
    play.hs.come_to_rest()

    assert both.called
    assert [1, 3, 5] == play.queued()


def test_a_duplicate_beside_a_hanging_statement_is_delivered() -> None:
    """Patience ends with the look at its row too."""
    play = Play()
    play.send(NOTICE)
    request = play.begin(NOTICE)
    assert play.steps() == ["withheld_read_queued"]
    play.hs.clock.advance(3)
    assert play.steps() == ["withheld_read_queued", "store"]
    play.hs.come_to_rest()

    assert request.called
    assert [2] == play.queued()


def test_a_failure_in_recording_is_ours_and_forgets_everything() -> None:
    """The request succeeds; the index may be wrong, so nothing of it is believed."""
    play = Play()
    play.send(NOTICE)
    tidier = play.traffic.inbox.tidier
    working, tidier.stream_token = tidier.stream_token, lambda: 1 // 0
    settle, play.index.settle = play.index.settle, lambda *_: 1 // 0
    play.send({**NOTICE, "sender_key": "new"})
    assert [1, 2] == play.queued()
    assert 0 == len(play.index)

    tidier.stream_token, play.index.settle = working, settle
    play.send({**NOTICE, "sender_key": "new"})
    assert [3] == play.queued()


def test_a_repeated_edu_asks_for_no_deletion() -> None:
    """Nothing was stored of it, so nothing is superseded; what waits stays known."""
    play = Play()
    edu: dict[str, Any] = {"sender": "@s:there", "edu": ("there", "1")}
    play.send(NOTICE, **edu)
    play.load()
    play.begin(NOTICE, **edu)
    names = []
    while play.hs.steps:
        names += play.steps()[:1]
        play.hs.take_step()

    assert ["withheld_read_mailboxes", "store", "stored"] == names
    assert play.index.knows((RECIPIENT, "R"))


def test_a_first_reading_looks_at_the_beginning_of_each_row() -> None:
    """A notice that is longer than any real one is not recognised there."""
    play = Play()
    message = {
        "content": {**NOTICE, "reason": "x" * 2048},
        "type": WITHHELD,
        "sender": "@s:here",
    }
    row = (RECIPIENT, "R", 1, json.dumps(message))
    play.hs.rows("INSERT INTO device_inbox VALUES (?, ?, ?, ?)", *row)
    play.hs.next_stream_id = 2
    play.send(NOTICE)

    assert [1, 2] == play.queued()


def test_an_olm_message_to_another_server_rearms_before_it_is_stored() -> None:
    """A notice that comes while it is on its way does not collapse."""
    play = Play()
    play.send(NOTICE, sender=ABROAD, edu=("there", "1"))
    answer = {**OLM, "ciphertext": {"key": {}}}
    play.begin_abroad(answer, message_type=ENCRYPTED, sender=RECIPIENT)
    notice = play.begin(NOTICE, sender=ABROAD, edu=("there", "2"))
    while not notice.called:
        play.hs.take_step(-1)
    play.hs.come_to_rest()
    play.hs.clock.advance(0.05)
    play.hs.come_to_rest()

    assert [3] == play.queued()


def test_an_olm_message_to_another_server_rearms_what_is_stored_meanwhile() -> None:
    """Its position may be the later one."""
    play = Play()
    play.send({"n": 1}, message_type="m.dummy")
    answer = {**OLM, "ciphertext": {"key": {}}}
    olm = play.begin_abroad(answer, message_type=ENCRYPTED, sender=RECIPIENT)
    notice = play.begin(NOTICE, sender=ABROAD, edu=("there", "1"))
    while not notice.called:
        play.hs.take_step(-1)
    assert not olm.called
    play.hs.come_to_rest()
    play.send(NOTICE, sender=ABROAD, edu=("there", "2"))

    assert [1, 4] == play.queued()


def test_a_wildcard_to_another_server_is_left_to_it_beside_others_too() -> None:
    """What it means there is not known here, so it never counts as waiting."""
    play = Play()
    play.send_abroad(NOTICE, ["*", "A"])
    play.send_abroad(NOTICE, ["*", "A"])

    assert [1, 2] == play.outbox()


def test_a_failed_write_forgets_its_mailboxes_and_no_others() -> None:
    """What is known of others is as good as before."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    request = play.begin({**NOTICE, "sender_key": "new"})
    play.hs.take_step()
    play.hs.take_step(error=RuntimeError("the connection was lost"))
    request.addErrback(Failure.trap, RuntimeError)

    known = [play.index.knows((RECIPIENT, device)) for device in ("R", "R2")]
    assert [False, True] == known


def test_a_failed_decision_forgets_its_mailboxes_and_no_others() -> None:
    """Its rows are stored without a watch."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    play.traffic.inbox.device_list_id = lambda: 1 // 0
    play.send({**NOTICE, "sender_key": "new"})

    known = [play.index.knows((RECIPIENT, device)) for device in ("R", "R2")]
    assert [False, True] == known
    assert not play.index._in_flight


def test_a_wildcard_without_an_answer_forgets_the_mailboxes_of_that_user() -> None:
    """Which of them got a row is not known; those of others did not."""
    play = Play()
    play.hs.add_device("@other:here", "O")
    play.send(NOTICE)
    play.send(NOTICE, "O", to_user="@other:here")
    play.begin(NOTICE, "*")
    play.hs.take_step(error=RuntimeError("the database failed"))
    play.hs.come_to_rest()

    assert not play.index.knows((RECIPIENT, "R"))
    assert play.index.knows(("@other:here", "O"))
    assert not play.index._in_flight


def test_a_server_with_a_port_in_its_name_vouches_for_its_users() -> None:
    """All that follows the first colon of a user ID names the server."""
    play = Play()
    for number in range(2):
        edu = ("there:8448", str(number))
        play.send(NOTICE, sender="@s:there:8448", edu=edu)

    assert [1] == play.queued()
