"""What is learned and tidied in the background, whatever happens meanwhile."""

from __future__ import annotations

from tests.model.telling import plays

test_learning = plays()("""
    what was stored is believed before its mailbox is learned
        fill notice times 3; begin notice; waiting:; step; step; hold learn
        begin notice; waiting: 2; step; collapsed: 2; free; rest; queued: 4
    a notice below 2000 other rows is found after each restart
        fill notice; fill text times 2000; send notice; swept:
        fill text times 2000; restart; send notice; swept:
    learning that hangs holds up no duplicate
        add R2; send notice; begin notice to R2; step; step; hold learn
        wait 1; begin notice; answer confirm; collapsed: 3
        wait 6; begin notice; answer confirm; collapsed: 3 4
    a superseded row goes only when readers see the newer one
        send notice; begin text; hold store; begin notice.new; steps; wait 1
        steps; queued: 1 3; free; rest; queued: 2 3
    a wildcard has only what is not remembered learned
        add R2; send notice; fill notice to R2 by @other:here times 2
        begin notice to * by @other:here; steps; send notice; collapsed: 3
        queued: 1 4; queued R2: 4
    of many mailboxes those that hold nothing else are not read
        add D1-D12; begin notice to D1-D12; rest
        asked: learn look-over learn; unknown: R
        begin notice to D1-D12; rest; asked: confirm
    what else one holds, above or below, is read
        add D1-D12; fill notice.new to D5; fill notice to D6
        begin notice to D1-D12; until look-over; sync D7; fill notice.new to D7
        sync D8; rest; queued D5: 3; queued D6: 3; unknown: R
        send notice.new to D7; queued D7: 5
""")

test_meanwhile = plays()("""
    what is stored while many are looked over makes older copies go
        add D1-D12; begin notice to *; until look-over; carry-out look-over
        hold look-over; begin notice to D12; steps; free; rest
        queued D12: 2; unknown:
    what may have been stored for all leaves no copies
        begin notice to *; hold store; begin notice; steps; wait 1; unknown:
        lose store on-its-way-back; rest; queued: 2; unknown:
    what is told while something for all is stored is believed no more
        begin notice.new to *; hold store; begin notice; steps; free; steps
        begin notice; waiting:
    what is stored for all leaves no copies in a mailbox learned meanwhile
        fill notice times 2; begin notice to *; hold store
        begin notice by @other:here; steps; wait 1; unknown:
        free store; steps; wait 0.01; rest; queued: 3 4; unknown:
    nor in one that is being read
        fill notice times 2; begin notice to *; hold store
        begin notice by @other:here; until learn; carry-out learn; hold learn
        free store; steps; wait 0.01; free; rest; queued: 3 4; unknown:
    nor does what is stored into a mailbox that was opened again
        begin notice; hold store; forget R; fill notice
        begin notice by @other:here; until learn; carry-out learn; hold learn
        free store; steps; free; rest; queued: 2 3; unknown:
    a row goes for what made the newer one redundant that is gone
        limit MOST_DELETED 1; fill notice.key.S2 times 3; fill notice times 2
        begin notice by @other:here; until tidy; begin notice; rest
        queued: 3 6 7; asked: learn tidy tidy tidy tidy
""")

# Whoever has a full share has nothing of others forgotten: their duplicates are found
# as before, and what did not fit is found later.
test_full_shares = plays()("""
    of what is to be tidied
        limit MOST_OF_ONE 5; add D1-D12; send notice to D1-D12 by @honest:here
        send notice to D1-D5; send notice to D6-D10; send notice to D11-D12
        begin notice.new to D1-D12; steps; begin notice to D1-D12 by @honest:here
        answer confirm; collapsed: 6; rest; send notice.newest to D1-D5
        send notice.newest to D6-D12; queued D1: 1 6; queued D12: 1 7
    of what is to be learned
        limit MOST_OF_ONE 5; add D1-D12; send notice to D1-D12 by @honest:here
        send notice to D1-D5; send notice to D6-D10; send notice to D11-D12
        doubt D1-D12
        begin notice.new to D1-D12; steps; begin notice to D1-D12 by @honest:here
        answer confirm; collapsed: 6; rest; send notice.newest to D1-D5
        send notice.newest to D6-D10; send notice.newest to D11-D12
        queued D1: 1 6; queued D12: 1 8
""")
