"""Breaks of re-arming: the section of that name in `docs/design.md`."""

from __future__ import annotations

from tests.breaks.model import Break

_FINDINGS = "model/test_findings.py::"
_CLAUSES = "model/test_clauses.py::"
_INDEX = "unit/test_index.py::"
_NOTICE = "unit/test_olm.py::"

REARMING = (
    Break(
        "A direct Olm message re-arms its pair",
        "mailbox.py",
        "data[flags] |= REARMED_DIRECTLY",
        "pass",
        _INDEX + "test_an_olm_message_to_a_device_rearms_exactly_its_pair",
    ),
    Break(
        "It has to have the pair's key",
        "mailbox.py",
        "if words[at + _KEY] == key:",
        "if True:",
        _INDEX + "test_an_olm_message_to_a_device_rearms_exactly_its_pair",
    ),
    Break(
        "An Olm message to `*` re-arms the pairs with all devices",
        "traffic.py",
        "if device_id == WILDCARD:",
        "if False:",
        _FINDINGS + "test_an_olm_message_to_all_devices_rearms_each",
    ),
    Break(
        "One from the recipient re-arms the pairs of the keys it is for",
        "traffic.py",
        "if recipient_keys:",
        "if False:",
        _CLAUSES + "test_an_olm_message_of_the_recipient_rearms",
    ),
    Break(
        "It re-arms them with all the recipient's devices",
        "links.py",
        "min(olm_messages + 1, MOST_COUNTED)",
        "olm_messages",
        _INDEX + "test_an_olm_message_of_a_user_rearms_the_key_everywhere",
    ),
    Break(
        "Only `m.olm.…` re-arms",
        "olm.py",
        'or not algorithm.startswith("m.olm.")',
        "",
        _NOTICE + "test_an_olm_message_tells_its_ends",
    ),
    Break(
        "It re-arms its sender's pairs alone",
        "mailbox.py",
        "while at < end and words[at] < stop:",
        "while at < end:",
        "unit/test_mailbox.py::test_only_the_pairs_of_a_sender_are_rearmed",
    ),
    Break(
        "Pairs are marked before the message is written",
        "traffic.py",
        "self._rearm(marks, inbox, answered, count=True)",
        "pass",
        _FINDINGS + "test_finding_2_an_olm_message_on_its_way_rearms_at_once",
    ),
    Break(
        "Pairs are marked again after it",
        "traffic.py",
        "                if inbox.begun + outbox.begun != begun:\n"
        "                    self._rearm(marks, inbox, answered)\n",
        "                pass\n",
        _FINDINGS + "test_finding_2_an_olm_message_rearms_what_is_stored_meanwhile",
    ),
    Break(
        "A notice in flight is re-armed too",
        "index.py",
        "        if self._in_flight:\n",
        "        if False:\n",
        _INDEX + "test_finding_2_what_passes_while_a_notice_is_stored_rearms_it",
    ),
    Break(
        "A mailbox that is forgotten takes no other's links along",
        "mailboxes.py",
        "if links is not None and links.pairs == mailbox.count:",
        "if links is not None:",
        _INDEX + "test_forgetting_one_of_several_mailboxes_leaves_what_they_share",
    ),
    Break(
        "What is in flight keeps its link while all else is forgotten",
        "index.py",
        "            watch.olm_messages = self._hold(watch.mailbox, watch.notice)\n",
        "            pass\n",
        _INDEX + "test_what_is_in_flight_while_all_is_forgotten_was_not_watched",
    ),
    Break(
        "A link that nobody holds may have missed something",
        "links.py",
        "now = MOST_COUNTED if position is None",
        "now = 0 if position is None",
        "unit/test_links.py::test_one_that_is_not_held_may_have_missed_something",
    ),
    Break(
        "A new notice begins a new watch",
        "index.py",
        "device_list_id, olm_messages, started_in)",
        "device_list_id, 0, started_in)",
        _INDEX + "test_a_new_notice_is_not_rearmed_by_what_came_before",
    ),
)
