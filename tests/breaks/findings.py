"""Breaks of what the review of the design found, numbered as in the tests."""

from __future__ import annotations

from tests.breaks.model import Break

_FINDINGS = "model/test_findings.py::"
_CLAUSES = "model/test_clauses.py::"
_INDEX = "unit/test_index.py::"
_BATCH = "unit/test_batch.py::"
_FAILURES = "unit/test_failures.py::"

FINDINGS = (
    Break(
        "Finding 1: a repeated EDU of which nothing is stored supersedes nothing",
        "collapser.py",
        "stream_id = plan.kept.stream_id\n",
        "stream_id = plan.kept.stream_id or 2\n",
        _CLAUSES + "test_a_repeated_edu_asks_for_no_deletion",
    ),
    Break(
        "Finding 1: rows are observed afresh at each attempt",
        "wrappers.py",
        "            batch.stream_id = None\n",
        "            pass\n",
        "unit/test_interception.py::test_rows_are_observed_afresh_at_each_attempt",
    ),
    Break(
        "Finding 2: after a failed write the mailboxes are forgotten",
        "collapser.py",
        "            self._guard(lambda: self._forget(plan, messages))\n"
        "            raise\n",
        "            raise\n",
        _FINDINGS + "test_finding_2_a_failed_write_forgets_the_mailbox",
    ),
    Break(
        "Finding 3: a wildcard is not left alone",
        "collapser.py",
        "whole = users_to_keep_whole(messages, collapsed.values())",
        "whole: set[str] = set()",
        _FINDINGS + "test_finding_3_a_wildcard_is_not_left_alone",
    ),
    Break(
        "Finding 4: strange identifiers reach no statement",
        "batch.py",
        "if notice and is_storable(user_id) and is_storable(device_id):",
        "if notice:",
        _FINDINGS + "test_finding_4_a_poisoned_device_id_reaches_no_statement",
    ),
    Break(
        "Finding 4: half of a surrogate pair is such an identifier",
        "batch.py",
        "    except UnicodeEncodeError:  # half of a surrogate pair\n"
        "        return False\n",
        "    except UnicodeEncodeError:  # half of a surrogate pair\n"
        "        return True\n",
        _BATCH + "test_finding_4_identifiers_that_a_database_refuses_are_no_candidates",
    ),
    Break(
        "Finding 4: only failed statements count towards standing aside",
        "failures.py",
        "if isinstance(error, StatementError):",
        "if True:",
        _FAILURES + "test_finding_4_what_a_user_can_provoke_does_not",
    ),
    Break(
        "Finding 5: a row that a deletion of the device dooms is not queued",
        "inbox_statements.py",
        'if kind == "row" and stream_id > doomed_up_to.get((user_id, device_id), 0)',
        'if kind == "row"',
        _FINDINGS + "test_finding_5_a_row_doomed_by_a_task_does_not_count_as_queued",
    ),
    Break(
        "Finding 5: doomed rows are left to that deletion",
        "inbox_statements.py",
        "message is not None and stream_id > doomed_up_to.get(key, 0)",
        "message is not None",
        "store/test_statements.py::test_a_reading_leaves_out_what_is_doomed[sqlite]",
    ),
    Break(
        "Finding 5: device IDs are not unique across users",
        "inbox_statements.py",
        "AND REPLACE(t.params, n.named_in_task, '') <> t.params",
        "AND n.named_in_task <> ''",
        _FINDINGS + "test_finding_5_a_task_for_somebody_elses_device_dooms_nothing",
    ),
    Break(
        "Finding 6: only devices that exist are remembered",
        "index.py",
        "        if notices is None:\n            self.forget(key)\n"
        "            return []\n",
        "        notices = notices or ()\n",
        _FINDINGS + "test_finding_6_invented_devices_are_not_remembered",
    ),
    Break(
        "Finding 6: a first reading is bounded in rows",
        "statements.py",
        "MOST_ROWS = 1000",
        "MOST_ROWS = 10_000",
        _FINDINGS + "test_finding_6_a_first_reading_is_bounded_in_rows_and_bytes",
    ),
    Break(
        "Finding 6: a first reading is bounded in characters of each row",
        "statements.py",
        "MOST_OF_ROW = 2048",
        "MOST_OF_ROW = 100_000",
        _CLAUSES + "test_a_first_reading_looks_at_the_beginning_of_each_row",
    ),
    Break(
        "Finding 8: what is found may be spoofed",
        "mailboxes.py",
        "or not doubtful or",
        "or True or",
        _INDEX + "test_finding_8_a_spoofed_row_is_not_superseded_by_another_key",
    ),
)
