"""Breaks of the rule: the section of that name in `docs/design.md`."""

from __future__ import annotations

from tests.breaks.model import Break

_FINDINGS = "model/test_findings.py::"
_CLAUSES = "model/test_clauses.py::"
_DECISION = "unit/test_decision.py::"
_INDEX = "unit/test_index.py::"
_NOTICE = "unit/test_no_olm.py::"

RULE = (
    Break(
        "Deliver, if no notice of the pair is queued",
        "decision.py",
        "if row is None or not (row.queued or held):",
        "if row is None:",
        _FINDINGS
        + "test_a_notice_after_an_acknowledged_one_is_stored_and_nothing_deleted",
    ),
    Break(
        "Collapse, if the same is queued",
        "decision.py",
        "return news or DUPLICATE",
        "return news or FIRST",
        _DECISION + "test_a_duplicate_of_a_queued_notice_collapses",
    ),
    Break(
        "Supersede, if the pair was re-armed",
        "decision.py",
        "if earlier.rearmed:",
        "if False:",
        _FINDINGS + "test_finding_2_an_olm_message_on_its_way_rearms_at_once",
    ),
    Break(
        "Supersede what was found by reading: after a restart",
        "decision.py",
        "if not earlier.complete:",
        "if False:",
        _DECISION + "test_each_doubt_is_enough",
    ),
    Break(
        "What a reading finds is not watched",
        "index.py",
        "flags=ALONE,",
        "flags=ALONE | COMPLETE,",
        _INDEX + "test_what_a_reading_finds_is_not_watched_and_its_older_copies_go",
    ),
    Break(
        "Supersede what was found by a reading just now",
        "judging.py",
        "return decisions.UNWATCHED",
        "return decisions.DUPLICATE",
        _CLAUSES + "test_what_was_queued_before_a_restart_is_superseded",
    ),
    Break(
        "Supersede what was stored beside the decision, without waiting its turn",
        "judging.py",
        "return decisions.UNWATCHED",
        "return decisions.DUPLICATE",
        _CLAUSES + "test_a_notice_that_did_not_wait_its_turn_is_no_proof",
    ),
    Break(
        "After an eviction in between the pair was not watched",
        "index.py",
        "complete = mailbox is watch.started_in",
        "complete = True",
        _INDEX + "test_a_mailbox_forgotten_meanwhile_breaks_the_watch",
    ),
    Break(
        "Supersede, if the device has another `sender_key`",
        "decision.py",
        "if not earlier.same_key:",
        "if False:",
        _DECISION + "test_each_doubt_is_enough",
    ),
    Break(
        "Supersede, if only the queued one names a session",
        "rules/no_olm.py",
        "more = earlier.variant == SCOPED and variant == WHOLE",
        "more = False",
        _DECISION + "test_each_doubt_is_enough",
    ),
    Break(
        "A notice that names a session collapses into one that names none",
        "rules/no_olm.py",
        "more = earlier.variant == SCOPED and variant == WHOLE",
        "more = earlier.variant != variant",
        _DECISION + "test_a_scoped_copy_of_an_unscoped_notice_collapses",
    ),
    Break(
        "A room without a session is a scope too",
        "rules/no_olm.py",
        "named == (None, None)",
        "withheld.session_id is None",
        _NOTICE + "test_a_room_alone_is_a_scope_and_so_is_a_session_alone",
    ),
    Break(
        "With `merge_scopes: false` scope is part of the pair",
        "rules/no_olm.py",
        "None if self.merge_scopes else named",
        "None",
        _NOTICE + "test_scope_is_part_of_the_pair_only_where_scopes_are_kept_apart",
    ),
    Break(
        "With `merge_scopes: true` scope is ignored",
        "rules/no_olm.py",
        "None if self.merge_scopes else named",
        "named",
        _NOTICE + "test_scope_is_part_of_the_pair_only_where_scopes_are_kept_apart",
    ),
    Break(
        "Supersede, if the recipient's device changed",
        "decision.py",
        "if row.device_list_id > earlier.device_list_id:",
        "if False:",
        _FINDINGS + "test_finding_5_a_device_that_changed_gets_the_notice_again",
    ),
    Break(
        "A device that changed before the notice was stored is the same",
        "decision.py",
        "if row.device_list_id > earlier.device_list_id:",
        "if row.device_list_id:",
        _DECISION + "test_a_duplicate_of_a_queued_notice_collapses",
    ),
    Break(
        "Supersede for dehydrated devices, which never acknowledge",
        "decision.py",
        "if row.kept_by_reader:",
        "if False:",
        _FINDINGS + "test_a_reader_that_never_acknowledges_gets_the_newest",
    ),
    Break(
        "Supersede for application services, which never acknowledge",
        "judging.py",
        "self.keeps_messages(mailbox[0])",
        "False",
        _FINDINGS + "test_a_reader_that_never_acknowledges_gets_the_newest",
    ),
    Break(
        "A pair belongs to its sender",
        "rules/no_olm.py",
        "            sender,\n            withheld.device,",
        '            "",\n            withheld.device,',
        _NOTICE + "test_a_pair_is_of_the_sender_that_synapse_names",
    ),
    Break(
        "The sender device is `from_device`, where the notice carries it",
        "rules/content.py",
        'f"key:{sender_key}" if from_device is None else f"device:{from_device}"',
        'f"key:{sender_key}"',
        _NOTICE + "test_every_recorded_message_is_a_notice",
    ),
    Break(
        "The sender device is otherwise `sender_key`",
        "rules/content.py",
        'f"key:{sender_key}" if from_device is None else f"device:{from_device}"',
        'f"device:{from_device}"',
        _NOTICE + "test_every_recorded_message_is_a_notice",
    ),
    Break(
        "A device ID that looks like a key is not one",
        "rules/content.py",
        'f"key:{sender_key}" if from_device is None else f"device:{from_device}"',
        "sender_key if from_device is None else from_device",
        _FINDINGS
        + "test_finding_7_a_device_id_that_looks_like_a_key_is_another_device",
    ),
    Break(
        "The two message types never stand for each other",
        "rules/no_olm.py",
        "            message_type,\n",
        '            "m.room_key.withheld",\n',
        _NOTICE + "test_the_types_never_stand_for_each_other",
    ),
    Break(
        "The older type is decided about",
        "rules/content.py",
        'frozenset({"m.room_key.withheld", "org.matrix.room_key.withheld"})',
        'frozenset({"m.room_key.withheld"})',
        _CLAUSES + "test_the_older_type_collapses_too",
    ),
    Break(
        "A message to `*` is stored whole, if one device needs it",
        "collapser.py",
        "            collapsed.pop(key, None)\n",
        "            pass\n",
        _FINDINGS + "test_a_wildcard_is_stored_whole_or_not_at_all",
    ),
    Break(
        "`*` beside other device IDs is a device ID",
        "batch.py",
        "device_id == WILDCARD and len(by_device) == 1",
        "device_id == WILDCARD",
        "unit/test_batch.py::test_only_a_lone_wildcard_is_one",
    ),
)
