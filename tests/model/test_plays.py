"""The plays that the design was walked through with, and what reviews found in it.

They are told in the words of `telling.py`. At the end of each nothing of a sender has
overtaken what waited, and a sweep finds nothing.
"""

from __future__ import annotations

from synapse_withheld.rules.content import MAX_ID_LENGTH
from synapse_withheld.rules.identifiers import MAX_NAME_LENGTH
from tests.model.telling import plays

LONG_SENDER = f"@{'e' * (MAX_ID_LENGTH - 7)}:there"
LONG_DEVICE = "A" * MAX_NAME_LENGTH

test_plays = plays()(f"""
    a duplicate collapses after one question
        send notice; asked: learn; begin again; asked: confirm; rest
        collapsed: 2; queued: 1; why: duplicate first
    the older type collapses, too, and not into the stable one
        send older-type; send notice; send older-type; collapsed: 3; queued: 1 2
    a repeated EDU writes no row and deletes none
        send notice by @s:there in there/1; send notice by @s:there in there/1
        collapsed: 2; restart; send notice by @s:there in there/1; collapsed: 2
        queued: 1; send notice by @s:there; queued: 4
    the first notice after a restart finds an old copy
        send notice; restart; begin notice; waiting:; rest; queued: 2
        send notice; queued: 2
    one that names a session leaves what says more
        send notice; restart; begin scoped; waiting:; rest; queued: 1 2
        send scoped; queued: 1 2; send notice; queued: 3
    a wildcard beside a device is a device of that name
        add R2; send notice to *,R; queued: 1; queued R2:
        send notice to *,R; collapsed:; queued: 2; queued R2:
    a wildcard in flight while a mailbox is opened is learned
        begin notice.new to *; begin notice; rest; queued: 2
        restart; begin notice.new to *; begin notice.new; rest; queued: 4
    a mailbox evicted while its notice is stored is learned
        fill notice; begin notice; forget R; rest; queued: 2
        send notice; queued: 3
    so is one that somebody else opened meanwhile
        fill notice; begin notice; forget R; begin notice; rest; queued: 3
        send notice; collapsed: 3; queued: 3
    of two keys that were found both stay until a third is seen arriving
        fill notice; fill notice.new; send scoped by @t:here; queued: 1 2 3
        send notice.newest; queued: 3 4
    what a deletion under way dooms does not count as queued
        send notice; doom 1; send notice; queued: 1 2; send notice; queued: 1 2
        restart; send notice; queued: 1 2 3
    an application service gets the newest
        send notice; serve; send notice; queued: 2; why: first never_acknowledged
    a dehydrated device gets the newest
        send notice; dehydrate; send notice; queued: 2
    a poisoned device ID reaches no statement
        send notice; begin notice to R,\0,\ud800; asked: learn confirm; rest
        collapsed: 2; queued: 1
    a failed write is passed on, and its mailboxes are forgotten
        add R2; add R3; send notice to R,R3; begin notice.new to R,R2; lose store
        unknown: R R2; rest; send notice to R,R2; queued: 3; queued R2: 3
    what is of long names is stored and not remembered
        send notice to there/{LONG_DEVICE}A; outbox: 1; remembered abroad: 0 0
        send notice by {LONG_SENDER}e; queued: 2; remembered: 0 0
    the longest names that there are are remembered
        add {LONG_DEVICE}; send notice to {LONG_DEVICE} by {LONG_SENDER}
        send notice to {LONG_DEVICE} by {LONG_SENDER}; collapsed: 2
    what nobody decides about is counted
        send notice; send notice by @s:there in there/1; why: first*2
        send notice to *; send notice by @s:there in elsewhere/1
        why: spoofed_sender wildcard; swept: 2; restart; why:
        send notice by @s:there in there/1; send notice; remove R; send notice
        why: already_received repeated unknown_device
""")

# Who waits, and who is let go.
test_waiting = plays()("""
    an Olm message of the sender releases what waits
        send notice; begin notice; begin olm; handed: 1 2 3; rest; queued: 2 3
        why: first released; send notice; queued: 3 4
    an Olm message of the recipient re-arms what waits
        send notice; begin notice; begin olm to @s:here/S1 by @r:here; waiting: 2
        answer confirm; waiting:; collapsed:; rest; queued: 3
    an old key after a new one that waits ends up newest
        add @u:here/U; send notice + notice to @u:here/U
        begin notice.new + notice to @u:here/U; waiting: 2
        begin notice; handed: 1 2 3; rest; queued: 3
    what goes to others or comes from others releases nothing
        send notice; send notice by @s:there; begin notice
        begin notice by @s:there; begin text to @other:here/R
        begin text by @other:here; begin text to there/R
        begin text by @s:there in elsewhere/1
        waiting: 3 4; rest; collapsed: 3 4
    a duplicate is not answered by a statement that was sent before it came
        send notice; begin notice times 4; answer confirm; collapsed: 2
        waiting: 3 4 5; answer confirm; collapsed: 2 3 4 5
        asked: learn confirm confirm
    a batch for both queues waits for both and is written once
        send notice; send notice to there/A; begin notice + notice to there/A
        answer confirm; waiting: 3; answer confirm-abroad; waiting:
        queued: 1; outbox: 2
    what was confirmed first is asked of the memory again
        send notice; send notice to there/A; begin notice + notice to there/A
        answer confirm; begin olm to @s:here/S1 by @r:here; answer confirm-abroad
        rest; queued: 4; outbox: 2
    what is stored after its answer overtakes nothing that came before
        send notice; send notice.key.S2; acknowledge 2
        begin notice; begin notice.key.S2; begin notice; answer confirm
        handed: 1 2 3 4 5; rest; queued: 4 5; why: first*3 not_queued released
    everybody goes when a statement is out for half a second
        send notice; begin notice times 3; wait 0.49; waiting: 2 3 4
        wait 0.02; waiting:; begin notice; waiting:; rest; queued: 5
        why: first overdue*4; begin notice; waiting: 6
    after a failure everybody passes for a second
        send notice; begin notice times 2; lose confirm; waiting:; wait 0.95
        begin notice; waiting:; steps; why: failed first resting*2
        wait 0.06; begin notice; waiting: 5; rest; queued: 4
    a duplicate that is stored for a large batch passes none that waits
        send notice; send notice.key.S2; begin notice
        begin notice.new to @q:here/D1-D300; hold store; waiting: 3
        begin notice.key.S2; waiting:
""")

# Requests with so many messages that nobody looks at all of them.
test_many = plays()("""
    a notice for many waits for nothing, and switches nothing off
        send notice by @honest:here; begin notice to I1-I20000; waiting:
        why: first; begin notice by @honest:here; rest; collapsed: 3
        why: duplicate limit*20000; remembered: 1 1
    nothing older is believed after it but what others said
        send notice by @other:here; send notice; send notice.new to I1-I300,R
        send notice; send notice by @other:here; collapsed: 5
    nor is it where all devices are meant
        send notice by @other:here; send notice; send notice.new to I1-I300,*
        send notice; send notice by @other:here; collapsed: 5
    nor is what was settled meanwhile
        begin notice.new to I1-I300,R; hold store; send notice; free; rest
        send notice; collapsed:
    ordinary messages have no such limit
        send notice; send olm to I1-I300,R; send notice; collapsed:
    a mailbox opened meanwhile is in doubt
        begin notice.new to R,I1-I300; hold store; send notice by @other:here
        unknown:; free; rest; unknown: R
    also where it is not known whether it was stored
        begin notice.new to R,I1-I300; hold store; send notice by @other:here
        unknown:; lose store on-its-way-back; rest; unknown: R
    devices that do not exist are not remembered, nor are they read
        send notice to I1-I250; send notice to I1-I50; send notice to @invented:here/*
        send notice to @invented:here/A,@another:here/A; asked:; remembered: 0 0
    a repeated EDU leaves no mailboxes behind
        send notice to I1-I5 by @e:there in there/1
        send notice to I6-I10 by @e:there in there/1; remembered: 0 0
    one request to many devices makes few statements
        add D1-D250; send notice to D1-D250
        asked: learn look-over learn look-over
        begin notice to D1-D250; rest; asked: confirm confirm
        begin notice.new to D1-D250; rest; asked: tidy tidy tidy
""")

test_other_servers = plays()("""
    a duplicate in the outbox collapses, whatever device is there by now
        send notice to there/A; change there/A; asked: learn-abroad
        begin notice to there/A times 2; asked: confirm-abroad; rest
        collapsed: 2 3; outbox: 1
    one call may be for many servers
        send notice to there/A; send notice to there/A + notice to @a:other/A
        send notice to there/A + notice to @a:other/A; outbox: 1; outbox other: 2
    an EDU that holds more is left alone
        send notice to there/A,there/B; send notice.new to there/A; outbox: 1 2
        send notice.newest to there/A; outbox: 1 3
    an EDU is stored whole that is for all devices, too
        send notice to there/A; send notice to there/*,there/A; collapsed:
    what all devices there were told is the last word
        send notice to there/A; send notice.new to there/*
        send notice to there/A; collapsed:
""")
test_without_the_outbox = plays(outbox=False)("""
    everything is stored, but Olm messages re-arm what waits here
        send notice to there/A times 2; outbox: 1 2
        send notice by @a:there; send olm to there/A by @r:here
        send notice by @a:there; queued: 5
""")
test_little_room = plays(max_pairs=1000)("""
    mailboxes that lost all their records are forgotten
        send notice to there/I1-I200; send notice to there/I201-I400
        remembered abroad: 100 100
""")

test_where_reads_are_seen = plays(sees_reads=True)("""
    a device that long-polls is told at once
        begin notice; waiting:; rest; queued: 1; sync
        begin notice; waiting:; rest; queued: 2; sync; send notice; queued: 3
    why a notice was stored at once is counted
        fill notice; send notice.key.S2; send notice; send notice.new; send olm
        send notice; send olm; send notice; begin notice.new; send notice
        read; send notice
        why: first new_key*3 not_repeated read rearmed repeated
""")
