"""The rule, case by case, in a real Synapse."""

import pytest

# So that a failure in there shows what was seen; before anything imports it.
pytest.register_assert_rewrite("tests.harness.waiting")
