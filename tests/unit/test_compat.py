"""What is recorded of Synapse's versions holds of the one that is installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from synapse_withheld.cli.tested import RELEASES as TESTED
from synapse_withheld.synapse_internals import synapse_version
from tests.compat.environments import ROOT, SHORT
from tests.compat.page import PAGE, passed
from tests.compat.shapes import expected, shapes_in


def test_the_wrapped_methods_are_of_a_known_shape() -> None:
    """A new Synapse that changes one has to be looked at, and recorded."""
    spec = find_spec("synapse")
    assert spec is not None
    assert spec.origin is not None
    assert expected(synapse_version()) == shapes_in(Path(spec.origin).parents[1])


def test_check_calls_tested_what_passed() -> None:
    assert passed(PAGE.read_text()) == TESTED.split()


def test_the_tests_for_every_release_are_there() -> None:
    for each in SHORT:
        file, _, name = each.partition("[")[0].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()
