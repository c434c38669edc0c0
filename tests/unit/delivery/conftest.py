"""What the tests of deliveries share."""

from __future__ import annotations

from itertools import count

import pytest

from synapse_withheld.operators.metrics import Metrics

_NUMBERS = count()


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics that start at zero, however often tests run in one process."""
    return Metrics(f"delivery {next(_NUMBERS)}")
