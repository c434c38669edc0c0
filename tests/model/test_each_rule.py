"""What each rule leaves in mailboxes, with messages going through the module.

Which message makes which redundant is told in `tests/unit/rules/test_redundant.py`, and
that no client misses what goes, in `test_model.py`.
"""

from __future__ import annotations

from typing import Any

from synapse_withheld.config import RulesConfig
from tests.harness.rules import EVERY_RULE
from tests.model.telling import plays

REQUESTS = RulesConfig(key_requests=True, secret_requests=True)
VERIFICATIONS = RulesConfig(verification_requests=True)
SESSIONS = RulesConfig(no_olm=False, withheld=True)
VANISH = RulesConfig(key_requests="vanish", secret_requests="vanish")  # noqa: S106
SESSION: dict[str, Any] = {"repeat": "session", "session_hold_ms": 3_600_000}


EVERYTHING = (
    "send request; send cancel; send cancel; send secret; send cancel-secret;"
    "send session.1; send session.2; send session.1;"
    "send verify; send start; send cancel-verify; send cancel-verify"
)
test_where_rules_are_on = plays(rules=EVERY_RULE)(f"""
    what they name goes, but a client may show the reason of each cancellation
        {EVERYTHING}; queued: 3 5 8 10 11 12
    also from an outbox, where an EDU holds nothing else
        send request to there/A; send cancel to there/A; send cancel to there/A
        send secret to there/A,there/B; send cancel-secret to there/A
        send session to there/A; send session.own to there/A; outbox: 3 4 5 7
""")
test_by_default = plays()(f"""
    nothing goes but notices
        {EVERYTHING}; queued: 1 2 3 4 5 6 7 8 9 10 11 12
""")
test_observe = plays(rules=EVERY_RULE, mode="observe")(f"""
    nothing goes
        {EVERYTHING}; queued: 1 2 3 4 5 6 7 8 9 10 11 12
    what would collapse is counted, though all of it is stored
        add R2; send notice; why: first; send notice to R,R2; why: duplicate first
        begin notice; answer store; answer stored; begin text; why:
        wait 1.1; why: overdue
""")

test_sessions = plays(rules=SESSIONS, repeat="session")("""
    a repeated code is not stored, until it was read
        send session; send session; collapsed: 2
        acknowledge 1; send session; queued: 2
    nor does it delete the newer one that passed it
        send session; begin session; begin session.blacklisted
        handed: 1 2 3; rest; queued: 3
""")

test_requests = plays(rules=REQUESTS)("""
    of request, cancel, request, cancel the last stays
        begin request; begin cancel; begin request; begin cancel; rest; queued: 4
    a cancellation takes whatever its request asked for
        fill request; fill request.1.S1.b; begin request.1.S1.c; begin request
        send cancel; queued: 5
    what a device asked for that is gone goes at the first touch
        register; add @s:here/S2; send request; send request.1.S2; send request.2
        send cancel.3; queued: 1 2 3 4; restart; send request.4.S2; queued: 2 4 5
    while it is there, all of it stays
        register; add @s:here/S1; add @s:here/S2
        send request; send request.1.S2; send request.2
        send cancel.3; restart; send request.4.S2; queued: 1 2 3 4 5
    who asks under a poisoned name keeps no mailbox from being learned
        add R2; fill request.1.\0; fill request.1.\ud83d; send request to R,R2
        unknown:
""")
test_verifications = plays(rules=VERIFICATIONS)("""
    what has expired goes when its mailbox is learned, but cancellations
        send verify.0.0; send verify.1.0; fill cancel-verify; wait 172800
        restart; send verify.new; queued: 3 4
""")

WITH_REPEAT_SESSION = """
    a delivered notice stands for later ones, until an Olm message
        send notice; read; send notice; collapsed: 2; queued: 1; sync
        send notice; queued:; send olm; send notice; queued: 2 3
    it does so until its hold is over, which those do not prolong
        send notice; acknowledge 1; asked: learn; begin again; rest; asked: confirm
        collapsed: 2; why: first held; wait 3500; send notice; collapsed: 2 3
        wait 100.5; send notice; queued: 2
    not for a device that was made again
        send notice; acknowledge 1; remove R; send notice; add R
        send notice; queued: 3
    not where a deletion is under way, which may have taken it unread
        send notice; acknowledge 1; doom 1; send notice; queued: 2
    not where nobody knows why it is gone
        send notice; acknowledge 1; serve; send notice; queued: 2
    what left the outbox was delivered, unless its device changed
        send notice to there/A; transmit 1; send notice to there/A; outbox:
        change there/A; send notice to there/A; outbox: 2
"""
test_repeat_session_with_workers = plays(**SESSION)(WITH_REPEAT_SESSION)
test_repeat_session_in_one_process = plays(sees_reads=True, **SESSION)(
    WITH_REPEAT_SESSION
)

test_vanishing = plays(rules=VANISH, sees_reads=True)(f"""
    a request that nobody was handed vanishes with its cancellation
        send request; send cancel; queued:; remembered: 1 0
    whoever was handed it hears of it, whether that arrived or not
        send request; read; send cancel; queued: 2
    also when it was acknowledged
        send request; sync; send cancel; queued: 2
    in the outbox the cancellation stays
        send request to there/A; send cancel to there/A; outbox: 2
    a request from before the start is taken back, however late it is found
        send request; restart; begin request.1.S1.b; begin cancel; until learn
        hold learn; steps; wait 1; queued: 1 2 3; free; rest; queued: 3
    where a mailbox is not read to its end the cancellation stays
        limit MOST_PAGES 1; fill request; fill text times 1200
        send request.1.S1.b; send cancel; remembered: 1 1; swept: 1
    what all were asked unseen is taken back in a mailbox learned meanwhile
        begin request to *; hold store; begin request.2; steps; wait 1; unknown:
        answer store; steps; begin request.1.S1.b; begin cancel; rest
        queued: 2
    and in one that is being read
        begin request to *; hold store; begin request.2; until list-gone
        hold list-gone; answer store; steps; free
        begin request.1.S1.b; begin cancel; rest; queued: 2
    what all were asked and one read before anybody looked is taken back
        begin request.2 to *; begin request to *
        answer store; answer stored; answer store; answer stored; sync
        rest; send request; send cancel; queued: 4
    also where the mailbox is opened by name
        begin request.2 to *; begin request to *
        answer store; answer stored; answer store; answer stored; sync
        hold list-devices; begin request; begin cancel; steps; wait 1; free
        rest; queued: 4
    while a message for all is stored no cancellation vanishes
        begin request to *; hold store; begin request; begin cancel; steps
        answer store; hold stored; rest; queued: 1 3
    where the deletion fails the cancellation stays
        send request; begin cancel; until vanish; lose vanish; rest; queued: 2
        send request; send cancel; queued: 2
    or where its question fails
        send request; begin cancel; until confirm; lose confirm; rest; queued: 2
    what a deletion under way dooms is left alone
        send request; doom 1; send cancel; queued: 1 2
    also if it comes between
        send request; begin cancel; until vanish; doom 2; rest; queued: 2
    an ID that is used again after it was read is recognised
        send request; sync; send request; send cancel; queued: 3
    but not after a start: nobody can know
        send request; sync; restart; send request; send cancel; queued:
    a long request from before the start is not taken back
        fill request.1.S1.{"x" * 2048}; send request; send cancel; queued: 1
""")
WHERE_NOBODY_KNOWS = """
    the cancellation stays
        send request; send cancel; queued: 2
"""
test_with_true = plays(rules=REQUESTS, sees_reads=True)(WHERE_NOBODY_KNOWS)
test_with_workers = plays(rules=VANISH)(WHERE_NOBODY_KNOWS)
test_vanishing_in_observe = plays(rules=VANISH, sees_reads=True, mode="observe")("""
    nothing goes
        send request; send cancel; queued: 1 2
""")
