"""How random plays are run."""

from __future__ import annotations

import os

from hypothesis import settings


def cases(examples: int = 300, steps: int = 60) -> settings:
    """Return how something random is run; `EXAMPLES` says how often."""
    return settings(
        max_examples=int(os.environ.get("EXAMPLES", examples)),
        stateful_step_count=steps,
        deadline=None,
        # A gate has to say the same each time; elsewhere new sequences are tried.
        derandomize=os.environ.get("CI") == "true",
    )
