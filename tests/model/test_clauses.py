"""Clauses of the rule, each with the shortest sequence that shows it.

Those that the review found are in `test_findings.py`.
"""

from __future__ import annotations

import json
from typing import Any

from tests.model.play import ABROAD, ENCRYPTED, NOTICE, OLM, RECIPIENT, WITHHELD, Play


def test_the_older_type_collapses_too() -> None:
    """Older clients send it, alone or beside the stable one."""
    play = Play()
    for _ in range(2):
        play.send(NOTICE, message_type="org.matrix.room_key.withheld")

    assert [1] == play.queued()


def test_an_olm_message_of_the_recipient_rearms() -> None:
    """All pairs between the two users, with all of their devices, whatever the key."""
    play = Play()
    play.hs.add_device(RECIPIENT, "R2")
    play.send(NOTICE, ["R", "R2"])
    answer = {**OLM, "sender_key": "the recipient's", "ciphertext": {"key": {}}}
    message: dict[str, Any] = {"message_type": ENCRYPTED, "sender": RECIPIENT}
    play.send(answer, "S1", to_user="@s:here", **message)
    play.send(NOTICE, ["R", "R2"])

    assert ([3], [3]) == (play.queued(), play.queued("R2"))


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
    while notice.ended is None:
        play.hs.take_step(-1)
    play.hs.come_to_rest()

    assert [3] == play.queued()


def test_an_olm_message_to_another_server_rearms_what_is_stored_meanwhile() -> None:
    """Its position may be the later one."""
    play = Play()
    play.send({"n": 1}, message_type="m.dummy")
    answer = {**OLM, "ciphertext": {"key": {}}}
    olm = play.begin_abroad(answer, message_type=ENCRYPTED, sender=RECIPIENT)
    notice = play.begin(NOTICE, sender=ABROAD, edu=("there", "1"))
    while notice.ended is None:
        play.hs.take_step(-1)
    assert olm.ended is None
    play.hs.come_to_rest()
    play.send(NOTICE, sender=ABROAD, edu=("there", "2"))

    assert [1, 4] == play.queued()


def test_a_wildcard_to_another_server_is_left_to_it_beside_others_too() -> None:
    """What it means there is not known here, so it never counts as waiting."""
    play = Play()
    play.send_abroad(NOTICE, ["*", "A"])
    play.send_abroad(NOTICE, ["*", "A"])

    assert [1, 2] == play.outbox()


def test_a_server_with_a_port_in_its_name_vouches_for_its_users() -> None:
    """All that follows the first colon of a user ID names the server."""
    play = Play()
    for number in range(2):
        edu = ("there:8448", str(number))
        play.send(NOTICE, sender="@s:there:8448", edu=edu)

    assert [1] == play.queued()
