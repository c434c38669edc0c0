"""Find the programs that run beside Synapse in tests."""

from __future__ import annotations

import os
import shutil

import pytest

# Debian's names.
PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "redis-server": "redis-server",
    "nginx": "nginx",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}


def program(name: str) -> str:
    """Return where a program is; without it skip, but never with `CI=true`."""
    if (path := shutil.which(name)) is not None:
        return path
    missing = f"no {name}: apt-get install {PACKAGES[name]}, or put it on PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing, allow_module_level=True)
