"""What cannot be imported on the oldest Python."""

from __future__ import annotations

import sys

# The benchmarks run on a PostgreSQL that is packaged for Python 3.10 and newer.
collect_ignore = ["test_bench.py"] if sys.version_info < (3, 10) else []
