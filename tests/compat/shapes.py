"""The shapes that the wrapped methods had, by the version that brought each."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Dict, List, Mapping

import attrs

from tests.compat.facts import Facts, names

FILE = Path(__file__).with_name("shapes.json")

# A method's facts by the version since which they hold; `None` where it is not there.
Shapes = Dict[str, Dict[str, "Facts | None"]]


def key(version: str) -> tuple[int, ...]:
    """Return what sorts versions: release candidates come before their release."""
    numbers, _, candidate = version.partition("rc")
    parts = [int(each) for each in numbers.split(".")]
    return (*parts, *[0] * (3 - len(parts)), int(candidate or 1_000_000))


def recorded() -> Shapes:
    told = json.loads(FILE.read_text())
    return {
        method: {
            since: None if facts is None else Facts(**facts)
            for since, facts in by_version.items()
        }
        for method, by_version in told.items()
    }


def record(found: Mapping[str, Mapping[str, Facts]]) -> None:
    """Write down the facts of all versions: each as far as it is new."""
    shapes: Shapes = {name: {} for name in names()}
    for version in sorted(found, key=key):
        for name, by_version in shapes.items():
            facts = found[version].get(name)
            if not by_version or list(by_version.values())[-1] != facts:
                by_version[version] = facts
    told = {
        name: {
            since: None if facts is None else attrs.asdict(facts)
            for since, facts in by_version.items()
        }
        for name, by_version in shapes.items()
    }
    FILE.write_text(json.dumps(told, indent=1) + "\n")


def versions_with_a_new_shape(shapes: Shapes) -> List[str]:
    """Return the versions at which some method changed, oldest first."""
    found = {since for by_version in shapes.values() for since in by_version}
    return sorted(found, key=key)


def expected(shapes: Shapes, version: str) -> dict[str, Facts | None]:
    """Return what a version should have: as the newest that is not newer."""
    found: dict[str, Facts | None] = {}
    for name, by_version in shapes.items():
        known = [each for each in by_version if key(each) <= key(version)]
        found[name] = by_version[known[-1]] if known else None
    return found


def differences(
    expected_facts: Mapping[str, Facts | None], found: Mapping[str, Facts]
) -> list[str]:
    """Say in which methods a Synapse differs from what is expected of it."""
    told = []
    for name, facts in expected_facts.items():
        other = found.get(name)
        if facts is None or other is None:
            if facts is not other:
                told.append(f"{name}: it is {'new' if other else 'gone'}")
        elif facts != other:
            told.append(f"{name}: {facts.difference(other)}")
    return told


def is_final(version: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)*", version) is not None
