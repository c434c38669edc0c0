"""Breaks of the invariants, of standing aside and of `mode: observe`."""

from __future__ import annotations

from tests.breaks.model import Break

_FINDINGS = "model/test_findings.py::"
_CLAUSES = "model/test_clauses.py::"
_INDEX = "unit/test_index.py::"

PROMISES = (
    Break(
        "I1: what a new notice makes redundant is deleted",
        "collapser.py",
        "            self.tidier.add(superseded)\n",
        "            pass\n",
        _FINDINGS + "test_finding_5_a_device_that_changed_gets_the_notice_again",
    ),
    Break(
        "I1: older copies that a reading finds are deleted",
        "index.py",
        "superseded += self._mailboxes.add(key, mailbox, found, notice.rule)",
        "self._mailboxes.add(key, mailbox, found)",
        _INDEX + "test_what_a_reading_finds_is_not_watched_and_its_older_copies_go",
    ),
    Break(
        "I1: the higher stream ID stays",
        "mailboxes.py",
        "older, newer = sorted((earlier, new), key=lambda each: each.stream_id)",
        "older, newer = earlier, new",
        _INDEX + "test_a_newer_notice_supersedes_whatever_order_they_settle_in",
    ),
    Break(
        "I3: a deletion checks that the newer row is there",
        "inbox_statements.py",
        "WHERE i.user_id = n.user_id AND i.device_id = n.device_id\n"
        "                        AND i.stream_id = n.stream_id\n",
        "",
        _FINDINGS + "test_finding_1_a_row_that_was_rolled_back_supersedes_nothing",
    ),
    Break(
        "I3: a deletion waits until readers see the newer row",
        "tidying.py",
        "if self.stream_token() >= max(row.newer_stream_id for row in batch):",
        "if True:",
        _FINDINGS + "test_a_superseded_row_goes_only_when_readers_see_the_newer_one",
    ),
    Break(
        "One lock per sender orders what is stored",
        "collapser.py",
        "plan.release = await self.locks.acquire(",
        "plan.release = lambda: None\n            (",
        _FINDINGS + "test_a_sender_whose_lock_hangs_delays_nobody_else",
    ),
    Break(
        "The lock is given back",
        "collapser.py",
        "            plan.release()\n",
        "            pass\n",
        _FINDINGS + "test_a_failed_deletion_heals_with_the_next_notice",
    ),
    Break(
        "Senders who are not on the server that sent them collapse nothing",
        "collapser.py",
        "if notice is not None and not is_from(sender, origin):",
        "if False:",
        _FINDINGS + "test_a_spoofed_sender_neither_collapses_nor_rearms",
    ),
    Break(
        "Senders who are not on the server that sent them re-arm nothing",
        "traffic.py",
        "if origin is None or is_from(sender, origin):",
        "if True:",
        _FINDINGS + "test_a_spoofed_sender_neither_collapses_nor_rearms",
    ),
    Break(
        "I4: whatever fails in a decision, the batch is stored",
        "collapser.py",
        "            plan.kept, plan.verdicts, plan.failed = messages, [], True\n",
        "            raise\n",
        _FINDINGS + "test_whatever_fails_in_a_decision_the_batch_is_stored",
    ),
    Break(
        "I4: a statement that fails delivers, and is counted as that",
        "collapser.py",
        '            self.failures.note("statement", error)\n',
        "            raise\n",
        "model/test_counting.py::test_a_decision_without_an_answer_is_counted_as_failed",
    ),
    Break(
        "I4: after a failure in recording nothing is remembered",
        "collapser.py",
        "            # What the index says may be wrong now.\n"
        "            self.index.clear()\n",
        "",
        _CLAUSES + "test_a_failure_in_recording_is_ours_and_forgets_everything",
    ),
    Break(
        "I4: patience with a statement ends",
        "reading.py",
        "return await wait_up_to(self.runtime, PATIENCE_S, answer)",
        "return await answer",
        _CLAUSES + "test_a_duplicate_beside_a_hanging_statement_is_delivered",
    ),
    Break(
        "I4: patience with a lock ends",
        "waiting.py",
        "call = self._runtime.call_later(seconds, acquired.cancel)",
        "call = self._runtime.call_later(seconds, lambda: None)",
        "unit/test_waiting.py::test_who_waits_too_long_for_a_lock_goes_without",
    ),
    Break(
        "While it stands aside everything passes",
        "traffic.py",
        "message_type in self.types and not self.failures.standing_aside",
        "message_type in self.types",
        _FINDINGS + "test_while_it_stands_aside_everything_passes",
    ),
    Break(
        "What passed while it stood aside was not watched",
        "failures.py",
        "            self._stand_aside()\n",
        "",
        _FINDINGS + "test_while_it_stands_aside_everything_passes",
    ),
    Break(
        "A failed deletion heals with the next notice",
        "tidying.py",
        "            self._forget({row.mailbox for row in batch})\n"
        "            return\n",
        "            return\n",
        _FINDINGS + "test_a_failed_deletion_heals_with_the_next_notice",
    ),
    Break(
        "I6: `max_pairs_per_sender`",
        "mailboxes.py",
        "len(mailbox.beside(place)) < self.most_of_sender(rule)\n            and ",
        "",
        _INDEX + "test_beyond_its_limit_nothing_more_is_remembered",
    ),
    Break(
        "I6: `max_pairs_per_mailbox`",
        "mailboxes.py",
        "            and mailbox.count < self._limits.pairs_per_mailbox\n",
        "",
        _INDEX + "test_beyond_its_limit_nothing_more_is_remembered",
    ),
    Break(
        "I6: `max_pairs`",
        "mailboxes.py",
        "            self.pairs > self._limits.pairs\n",
        "            False\n",
        _INDEX + "test_the_total_of_pairs_is_bounded",
    ),
    Break(
        "I6: `max_mailboxes`",
        "mailboxes.py",
        "while len(self._read) >= self._limits.mailboxes:",
        "while False:",
        _INDEX + "test_the_least_recently_used_mailbox_goes_first",
    ),
    Break(
        "Two pairs at one place are told apart",
        "records.py",
        "if second is None or words[at + 1] == second:",
        "if True:",
        "unit/test_index_bounds.py::test_two_pairs_at_one_place_are_told_apart",
    ),
    Break(
        "I6: identifiers that are too long make a message malformed",
        "rules/content.py",
        "0 < len(value) <= limit",
        "0 < len(value)",
        "unit/test_no_olm.py::test_what_is_no_notice_is_named_and_left_alone",
    ),
    Break(
        "I6: one statement names many rows",
        "statements.py",
        "MOST_KEYS = 200",
        "MOST_KEYS = 20",
        _FINDINGS + "test_one_request_to_a_thousand_devices_makes_few_statements",
    ),
    Break(
        "What was read makes room for new pairs",
        "judging.py",
        "        self._make_room(crowd, rows)\n",
        "",
        _FINDINGS + "test_what_was_read_makes_room_for_new_pairs",
    ),
    Break(
        "`mode: observe` stores everything",
        "collapser.py",
        "collapsed.values() if self.config.enforces else ()",
        "collapsed.values()",
        _FINDINGS + "test_observe_decides_and_changes_nothing",
    ),
    Break(
        "`mode: observe` deletes nothing",
        "collapser.py",
        "        if self.config.enforces:\n",
        "        if True:\n",
        _FINDINGS + "test_observe_decides_and_changes_nothing",
    ),
)
