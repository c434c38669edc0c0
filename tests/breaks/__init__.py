"""Deliberate breaks: for each clause of the rule, the test that notices its loss.

`python -m tests.breaks` applies each to a copy and runs its test there. A new break
is one more entry in one of the lists; `--write` puts it in `docs/development.md`.
"""

from __future__ import annotations

from tests.breaks.findings import FINDINGS
from tests.breaks.model import Break
from tests.breaks.opt_in import OPT_IN
from tests.breaks.outbox import HOLD, OUTBOX
from tests.breaks.promises import PROMISES
from tests.breaks.rearming import REARMING
from tests.breaks.rule import RULE
from tests.breaks.sweep import SWEEP

ALL: tuple[Break, ...] = (
    RULE + REARMING + OUTBOX + HOLD + FINDINGS + PROMISES + SWEEP + OPT_IN
)
