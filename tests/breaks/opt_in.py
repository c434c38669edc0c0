"""Breaks of the rules that operators may choose."""

from __future__ import annotations

from tests.breaks.model import Break

_WITHHELD = "unit/test_rule_withheld.py::"
_REQUESTS = "unit/test_rule_requests.py::"
_VERIFICATION = "unit/test_rule_verification.py::"
_STALENESS = "unit/test_staleness.py::"
_DEVICES = (
    "store/test_device_statements.py::"
    "test_of_others_what_was_announced_and_is_not_in_a_complete_list_is_gone"
)
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
        "gone = staleness.among(notices)",
        "gone = set()",
        _VERIFICATION + "test_what_has_expired_goes_when_its_mailbox_is_touched",
    ),
    Break(
        "Rule `verification_requests`: what has expired takes its cancellation along",
        "staleness.py",
        "stale.add(later[0])",
        "pass",
        _STALENESS + "test_what_has_expired_takes_its_later_cancellation_along",
    ),
    Break(
        "Rule `verification_requests`: in the sweep, too",
        "covering.py",
        "yield Found(rule, row, later.size, again=True)",
        "pass",
        _VERIFICATION + "test_the_sweep_takes_the_later_cancellation_too",
    ),
    Break(
        "Rules of requests: what a device that is gone asked for goes",
        "staleness.py",
        " or notice.asker in self.gone",
        "",
        _REQUESTS + "test_what_a_device_asked_for_that_is_gone_goes_at_the_first_touch",
    ),
    Break(
        "Rules of requests: the cancellations of a device that is gone stay",
        "rules/requests.py",
        "device_id if variant == REQUEST else None",
        "device_id",
        _STALENESS + "test_requests_of_a_device_that_is_gone_are_stale",
    ),
    Break(
        "Rules of requests: what a device that is gone took back stays taken back",
        "staleness.py",
        "return notice.has_expired(self.now_ts) and notice.rule.supersedes(",
        "return notice.rule.supersedes(",
        _STALENESS + "test_requests_of_a_device_that_is_gone_are_stale",
    ),
    Break(
        "Rules of requests: a device that was not announced yet is not gone",
        "device_statements.py",
        "WHERE l.user_id = a.user_id AND l.device_id = a.device_id",
        "WHERE TRUE",
        _DEVICES,
    ),
    Break(
        "Rules of requests: where the list of devices is out of date, none is gone",
        "device_statements.py",
        "AS r WHERE r.user_id = a.user_id",
        "AS r WHERE FALSE",
        _DEVICES,
    ),
    Break(
        "Rules of requests: where nobody keeps the list of devices, none is gone",
        "device_statements.py",
        "            WHERE e.user_id = a.user_id\n",
        "",
        _DEVICES,
    ),
    Break(
        "Rules of requests: a hidden device of this server is there",
        "device_statements.py",
        "WHERE d.user_id = a.user_id AND d.device_id = a.device_id",
        "WHERE d.user_id = a.user_id AND d.device_id = a.device_id AND NOT d.hidden",
        "store/test_device_statements.py::test_of_this_servers_users_every_device_that_is_not_there_is_gone[sqlite]",
    ),
)
