"""Breaks of the sweep over the backlog."""

from __future__ import annotations

from tests.breaks.model import Break

_SWEEPING = "unit/test_sweeping.py::"
_STORE = "store/test_sweep.py::"
_BY_HAND = "unit/test_cli_sweep.py::"
_BACKGROUND = "unit/test_background_sweep.py::"

SWEEP: tuple[Break, ...] = (
    Break(
        "Sweep: what has expired goes only where something newer is",
        "covering.py",
        "if self.newest_id <= stream_id:",
        "if False:",
        "unit/test_rule_verification.py::"
        "test_the_sweep_takes_the_later_cancellation_too",
    ),
    Break(
        "Sweep: a request for something else stays",
        "covering.py",
        "same_key=notice.key == later.notice.key",
        "same_key=True",
        "model/test_rules.py::test_a_sweep_leaves_what_a_client_needs",
    ),
    Break(
        "Sweep: every rule's messages are looked at",
        "covering.py",
        "marks = self.rules.marks",
        'marks = ("m.no_olm",)',
        "model/test_rules.py::test_a_sweep_takes_back_what_was_taken_back",
    ),
    Break(
        "Sweep: a scoped notice does not cover an unscoped one",
        "rules/no_olm.py",
        "return older == SCOPED or newer == WHOLE",
        "return True",
        _SWEEPING + "test_what_stays_of_a_mailbox",
    ),
    Break(
        "Sweep: a later unscoped notice covers a scoped one",
        "rules/no_olm.py",
        "return older == SCOPED or newer == WHOLE",
        "return older == newer",
        _SWEEPING + "test_what_stays_of_a_mailbox",
    ),
    Break(
        "Sweep: where spoofs are possible only an equal key covers",
        "covering.py",
        "notice.key if doubtful else None",
        "None",
        _SWEEPING + "test_where_spoofs_are_possible_only_an_equal_key_covers",
    ),
    Break(
        "Sweep: where they are not, another key of the device covers",
        "covering.py",
        "notice.key if doubtful else None",
        "notice.key",
        _SWEEPING + "test_what_stays_of_a_mailbox",
    ),
    Break(
        "Sweep: mailboxes are apart",
        "covering.py",
        "if self._mailbox.key != key:",
        "if not self._mailbox.newest_id:",
        _SWEEPING + "test_a_mailbox_of_another_device_covers_nothing",
    ),
    Break(
        "Sweep: memory is that of one mailbox",
        "covering.py",
        "self._mailbox = _Mailbox(key, stream_id)",
        "self._mailbox = _Mailbox(key, stream_id, self._mailbox.pairs)",
        _SWEEPING + "test_memory_does_not_grow_with_the_table",
    ),
    Break(
        "Sweep: the pairs of a mailbox are bounded",
        "covering.py",
        "if later is not None or len(self.pairs) < MOST_PAIRS:",
        "if True:",
        _SWEEPING + "test_pairs_beyond_the_limit_are_left_alone",
    ),
    Break(
        "Sweep: a dry run deletes nothing",
        "sweeping.py",
        "if free and not self._options.dry_run:",
        "if free:",
        _SWEEPING + "test_a_dry_run_says_the_same_and_deletes_nothing",
    ),
    Break(
        "Sweep: a device that is being deleted keeps its rows",
        "sweeping.py",
        "if each[0].mailbox not in doomed]",
        "]",
        _SWEEPING + "test_a_mailbox_whose_device_is_being_deleted_is_left_alone",
    ),
    Break(
        "Sweep: the deletion itself looks for one that began meanwhile",
        "inbox_statements.py",
        "AND REPLACE(t.params, n.named_in_task, '') <> t.params",
        "AND FALSE",
        _STORE + "test_a_deletion_that_begins_after_the_reading_is_seen",
    ),
    Break(
        "Sweep: it tells namesakes of a device apart",
        "inbox_statements.py",
        "AND REPLACE(t.params, n.named_in_task, '') <> t.params",
        "AND n.named_in_task <> ''",
        _STORE + "test_a_namesake_of_a_doomed_device_is_not_doomed",
    ),
    Break(
        "Sweep: the newer row has to be there",
        "inbox_statements.py",
        "                        AND i.stream_id = n.stream_id\n",
        "",
        _STORE + "test_only_rows_with_a_newer_row_are_deleted",
    ),
    Break(
        "Sweep: it has to be the later one",
        "inbox_statements.py",
        "AND s.stream_id > o.stream_id",
        "AND s.stream_id > 0",
        _STORE + "test_only_rows_with_a_newer_row_are_deleted",
    ),
    Break(
        "Sweep: one deletion names so many rows",
        "sweep_statements.py",
        "MOST_DELETED if driver == SQLITE else MOST_COVERED",
        "MOST_COVERED",
        _STORE + "test_as_many_as_a_batch_has_go_in_few_statements[sqlite]",
    ),
    Break(
        "Sweep: what readers do not see yet covers nothing",
        "sweeping.py",
        "[row for row in rows if row[2] <= up_to]",
        "rows",
        _SWEEPING + "test_what_readers_do_not_see_yet_neither_goes_nor_covers",
    ),
    Break(
        "Sweep: after a failure the mailbox is begun again",
        "sweeping.py",
        "            self._covering = self._new_covering()\n            raise",
        "            raise",
        _SWEEPING + "test_after_a_failure_nothing_is_missed_and_nothing_covers_itself",
    ),
    Break(
        "Sweep: taken up again, the mailbox is begun again",
        "sweeping.py",
        "None if start is None else (*start, NEWEST_OF_MAILBOX)",
        "None if start is None else (*start, 0)",
        _SWEEPING + "test_a_mailbox_that_was_left_in_the_middle_is_begun_again",
    ),
    Break(
        "Sweep: the rows looked at are bounded, not those returned",
        "sweep_statements.py",
        "        {from_here}\n",
        "        {from_here or 'WHERE TRUE'} AND message_json LIKE '%m.no_olm%'\n",
        _STORE + "test_rows_are_read_against_the_index_and_in_bounded_batches[sqlite]",
    ),
    Break(
        "Sweep: the walk uses the index",
        "sweep_statements.py",
        "ORDER BY user_id DESC, device_id DESC, stream_id DESC",
        "ORDER BY user_id DESC, device_id ASC, stream_id DESC",
        _STORE + "test_the_walk_uses_the_index_and_sorts_nothing",
    ),
    Break(
        "Sweep: a row that is too long for a notice is not read",
        "sweep_statements.py",
        "<= ? THEN message_json END",
        "<= ? * 10 THEN message_json END",
        _STORE + "test_what_is_too_long_for_a_notice_is_not_read[sqlite]",
    ),
    Break(
        "Sweep: by hand, scopes are merged as in the module",
        "cli/sweep.py",
        "rules=Ruleset.of(config),",
        "merge_scopes=True,",
        _BY_HAND + "test_the_rule_is_that_of_the_modules_configuration",
    ),
    Break(
        "Sweep: a database that is not there is not made",
        "cli/database.py",
        "if not path.is_file():",
        "if False:",
        _BY_HAND + "test_a_wrong_configuration_is_answered_in_words",
    ),
    Break(
        "Sweep: what others were in the way of is tried again",
        "cli/database.py",
        "if not _in_the_way(error) or tries == TRIES:",
        "if True:",
        _BY_HAND + "test_what_others_were_in_the_way_of_is_tried_again",
    ),
    Break(
        "Sweep: one that deletes does not begin where a dry run was",
        "cli/place.py",
        "if noted_dry != dry_run:",
        "if False:",
        _BY_HAND + "test_a_sweep_does_not_begin_where_a_dry_run_was",
    ),
    Break(
        "Sweep: in the background it tells of each rule from the start",
        "metrics.py",
        "self.swept_of_rule(rule, notices=0, deleted=0, size=0)",
        "pass",
        _BACKGROUND + "test_where_nothing_is_found_each_rule_says_so",
    ),
    Break(
        "Sweep: in the background it rests after each batch",
        "background_sweep.py",
        "            await self.sleep(self.pause_s)\n",
        "",
        _BACKGROUND + "test_it_rests_after_each_batch_and_tells_how_far_it_is",
    ),
    Break(
        "Sweep: in the background it gives up after failures in a row",
        "background_sweep.py",
        "                failures += 1\n",
        "                failures += 0.01\n",
        _BACKGROUND + "test_after_many_failures_in_a_row_it_gives_up",
    ),
)
