"""Breaks of the outbox and of `repeat: session`."""

from __future__ import annotations

from tests.breaks.model import Break

_OUTBOX = "model/test_outbox.py::"
_SESSION = "model/test_session.py::"
_WRAPPERS = "unit/test_interception.py::"

OUTBOX = (
    Break(
        "What collapses is taken out of an EDU before it is stored",
        "traffic.py",
        "left = without_collapsed(edus, kept)",
        "left = edus",
        _OUTBOX + "test_a_duplicate_in_the_outbox_collapses",
    ),
    Break(
        "The caller's EDU stays as it is",
        "edus.py",
        'left[destination] = {**edu, "messages": messages}',
        'left[destination] = {**edu, "messages": messages}\n'
        '            edu["messages"] = messages',
        _OUTBOX + "test_only_what_collapses_is_taken_out_of_an_edu",
    ),
    Break(
        "An EDU with nothing left is not stored",
        "wrappers.py",
        "        if batch is not None and not kept:\n",
        "        if False:\n",
        _WRAPPERS + "test_with_nothing_left_of_an_edu_nothing_is_written",
    ),
    Break(
        "An EDU that holds more is left alone",
        "mailboxes.py",
        "            older.has(ALONE)\n            and (",
        "            (",
        _OUTBOX + "test_an_edu_that_holds_more_is_left_alone",
    ),
    Break(
        "What waits with others is not found by a reading",
        "outbox_statements.py",
        "if not isinstance(by_device, dict) or len(by_device) != 1:",
        "if not isinstance(by_device, dict):",
        "store/test_outbox_statements.py::"
        "test_a_reading_tells_what_waits_for_a_device_alone[sqlite]",
    ),
    Break(
        "I3: an EDU is deleted only where the newer one waits",
        "outbox_statements.py",
        "WHERE newer.destination = s.destination\n"
        "                    AND newer.stream_id = s.newer_id AND ",
        "WHERE ",
        "store/test_outbox_statements.py::"
        "test_only_edus_with_a_newer_one_in_the_same_outbox_are_deleted[sqlite]",
    ),
    Break(
        "A change of the device says nothing of what waits",
        "outbox_statements.py",
        "0 if there else changed or 0",
        "changed or 0",
        _OUTBOX + "test_a_changed_device_elsewhere_is_given_what_waits",
    ),
    Break(
        "`*` is left to the other server",
        "queues.py",
        "has_all_devices=False",
        "has_all_devices=True",
        "model/test_clauses.py::"
        "test_a_wildcard_to_another_server_is_left_to_it_beside_others_too",
    ),
    Break(
        "Olm messages for other servers mark pairs before",
        "traffic.py",
        "self._rearm(marks, outbox, inbox, count=True)",
        "pass",
        "model/test_clauses.py::"
        "test_an_olm_message_to_another_server_rearms_before_it_is_stored",
    ),
    Break(
        "Olm messages for other servers mark pairs after",
        "traffic.py",
        "                    self._rearm(marks, outbox, inbox)\n",
        "                    pass\n",
        "model/test_clauses.py::"
        "test_an_olm_message_to_another_server_rearms_what_is_stored_meanwhile",
    ),
    Break(
        "An answer from another server re-arms what waits for it",
        "traffic.py",
        "answered = inbox if origin is None else outbox",
        "answered = inbox",
        _OUTBOX + "test_an_answer_from_the_other_server_rearms_what_waits",
    ),
    Break(
        "Each queue has an index of its own",
        "wiring.py",
        "outbox_index = _index(config, spoofs_possible=False)",
        "outbox_index = inbox_index",
        _OUTBOX + "test_invented_devices_elsewhere_push_nothing_out_of_the_inbox",
    ),
    Break(
        "`outbox: false` stores everything",
        "traffic.py",
        "if self.collapses_outbox and any(",
        "if any(",
        _OUTBOX + "test_switched_off_everything_is_stored",
    ),
)

HOLD = (
    Break(
        "With `repeat: queued` a delivered notice may be repeated",
        "judging.py",
        "        if self.hold_s is None:\n            return False\n",
        "        if self.hold_s is None:\n            return True\n",
        _SESSION + "test_by_default_a_delivered_notice_may_be_repeated",
    ),
    Break(
        "Within the hold a delivered notice stands for later ones",
        "decision.py",
        "return NOT_QUEUED if news else HELD",
        "return NOT_QUEUED",
        _SESSION + "test_a_delivered_notice_stands_for_later_ones",
    ),
    Break(
        "Whatever is new ends the hold",
        "decision.py",
        "return NOT_QUEUED if news else HELD",
        "return HELD",
        _SESSION + "test_an_olm_message_ends_the_hold",
    ),
    Break(
        "The hold ends",
        "judging.py",
        "return self.seconds() - earlier.undelivered_s <= self.hold_s",
        "return True",
        _SESSION + "test_a_delivered_notice_stands_for_later_ones",
    ),
    Break(
        "It begins when the notice was last seen queued",
        "judging.py",
        "self.hold_s is not None and row is not None and row.queued:",
        "False:",
        _SESSION + "test_the_hold_begins_when_the_notice_was_last_seen_queued",
    ),
    Break(
        "A notice that collapses does not prolong it",
        "judging.py",
        "self.hold_s is not None and row is not None and row.queued:",
        "True:",
        _SESSION + "test_a_notice_that_collapses_does_not_prolong_the_hold",
    ),
    Break(
        "What an application service reads is never held",
        "judging.py",
        "return decisions.NEVER_ACKNOWLEDGED if is_queued else decisions.NOT_QUEUED",
        "return decisions.NEVER_ACKNOWLEDGED if is_queued else decided",
        _SESSION + "test_what_an_application_service_reads_is_never_held",
    ),
)
