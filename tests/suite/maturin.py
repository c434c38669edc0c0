"""Stands in for the maturin that the distribution wants only to say its own name."""

from __future__ import annotations

import shutil
from pathlib import Path


def prepare_metadata_for_build_wheel(directory: str, _settings: object = None) -> str:
    """Tell pip what it downloads; the real one asks for a Rust compiler and crates."""
    info = Path(directory) / "matrix_synapse.dist-info"
    info.mkdir()
    shutil.copy("PKG-INFO", info / "METADATA")
    return info.name
