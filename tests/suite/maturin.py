"""Stands in for maturin, which asks for a Rust compiler only to say what this is."""

from __future__ import annotations

import shutil
from pathlib import Path


def prepare_metadata_for_build_wheel(directory: str, _settings: object = None) -> str:
    info = Path(directory) / "matrix_synapse.dist-info"
    info.mkdir()
    shutil.copy("PKG-INFO", info / "METADATA")
    return info.name
