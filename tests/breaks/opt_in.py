"""Breaks of the rules that operators may choose."""

from __future__ import annotations

from tests.breaks.model import Break

_WITHHELD = "unit/test_rule_withheld.py::"
_REQUESTS = "unit/test_rule_requests.py::"
_VERIFICATION = "unit/test_rule_verification.py::"
_RULESET = "unit/test_ruleset.py::"

OPT_IN: tuple[Break, ...] = (
    Break(
        "Rules: each acts only where it was chosen",
        "rules/ruleset.py",
        "for rule, is_on in rules.items() if is_on",
        "for rule in rules",
        _RULESET + "test_by_default_there_is_one_rule",
    ),
    Break(
        "Rules: a pair is of one rule",
        "fingerprints.py",
        "repr((notice.rule.name, *",
        'repr(("", *',
        "unit/test_fingerprints.py::test_rules_have_pairs_of_their_own",
    ),
    Break(
        "Rule `withheld`: another code for the session supersedes",
        "rules/withheld.py",
        "None if earlier.variant == variant else decision.NEW_CODE",
        "None",
        _WITHHELD
        + "test_another_code_for_the_session_takes_the_place_of_the_queued_one",
    ),
    Break(
        "Rule `withheld`: each session is told of by itself",
        "rules/withheld.py",
        "session = (withheld.room_id, withheld.session_id, withheld.sender_key)",
        "session = (withheld.room_id, withheld.sender_key)",
        _WITHHELD + "test_each_session_and_each_device_is_told_of_by_itself",
    ),
    Break(
        "Rule `withheld`: what was read may be repeated, with `repeat: session` too",
        "decision.py",
        "held = held and notice.rule.once_per_session",
        "held = held",
        _WITHHELD + "test_a_message_that_was_read_may_be_repeated",
    ),
    Break(
        "Rules of requests: nothing new is ever left out",
        "decision.py",
        "        return news\n    if not earlier.complete:",
        "        return None\n    if not earlier.complete:",
        _REQUESTS + "test_of_identical_requests_the_newest_stays",
    ),
    Break(
        "Rules of requests: a request after a cancellation leaves that alone",
        "rules/requests.py",
        "return newer == CANCELLATION or (older == REQUEST and same_key)",
        "return True",
        _REQUESTS + "test_a_request_after_a_cancellation_stays_and_so_does_that",
    ),
    Break(
        "Rules of requests: only an identical request takes an older one's place",
        "rules/requests.py",
        "(older == REQUEST and same_key)",
        "(older == REQUEST)",
        _REQUESTS + "test_a_request_for_something_else_stays",
    ),
    Break(
        "Rules of requests: device and ID tell requests apart",
        "rules/requests.py",
        "Pair(sender, device_id, message_type, (request_id,))",
        'Pair(sender, "", message_type, (request_id,))',
        _REQUESTS + "test_another_request_is_not_taken_back",
    ),
    Break(
        "Rules of requests: what is found takes back what is found",
        "mailboxes.py",
        "doubtful = rule.about_keys and self._spoofs_possible",
        "doubtful = self._spoofs_possible",
        _REQUESTS + "test_where_spoofs_are_possible_a_cancellation_counts_all_the_same",
    ),
    Break(
        "Rules of requests: their limit is their own",
        "mailboxes.py",
        "return self._limits.requests_per_sender",
        "return self._limits.pairs_per_sender",
        _REQUESTS + "test_many_requests_of_one_sender_are_remembered",
    ),
    Break(
        "Rules of requests: an Olm message does not look at them",
        "fingerprints.py",
        "place_of(sender) if notice.rule.about_keys else requests_of(sender)",
        "place_of(sender)",
        "unit/test_fingerprints.py::test_requests_are_apart_from_what_is_rearmed",
    ),
    Break(
        "Rule `verification_requests`: only what was cancelled goes",
        "rules/verification.py",
        "return older == REQUEST and newer == CANCELLATION",
        "return newer == CANCELLATION or older == CANCELLATION",
        _VERIFICATION + "test_nothing_else_goes",
    ),
    Break(
        "Rule `verification_requests`: a transaction is its sender's",
        "rules/verification.py",
        'Pair(sender, "", "m.key.verification", (transaction_id,))',
        'Pair("", "", "m.key.verification", (transaction_id,))',
        _VERIFICATION + "test_a_request_of_another_transaction_stays",
    ),
    Break(
        "Rule `verification_requests`: what every client ignores has expired",
        "rules/verification.py",
        "return timestamp + IGNORED_AFTER_MS + MARGIN_MS",
        "return timestamp + IGNORED_AFTER_MS",
        _VERIFICATION + "test_a_request_expires_after_ten_minutes_and_a_day",
    ),
    Break(
        "Rule `verification_requests`: what has expired goes at the first touch",
        "reading.py",
        "if notice.has_expired(now_ts)",
        "if False",
        _VERIFICATION + "test_what_has_expired_goes_when_its_mailbox_is_touched",
    ),
)
