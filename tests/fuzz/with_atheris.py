"""What atheris runs: `python -m tests.fuzz.with_atheris`, with libFuzzer's options."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["synapse_withheld"]):
    from tests.fuzz.target import Target

if __name__ == "__main__":
    # Not for its time: what atheris instruments is slow.
    target = Target()
    atheris.Setup(sys.argv, target.run)
    atheris.Fuzz()
