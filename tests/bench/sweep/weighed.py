"""Run the command line, then tell on standard output what memory it took at most.

Only the process itself can tell: `ru_maxrss` begins with what its parent took.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from synapse_withheld.cli.__main__ import main


def most_held() -> int:
    """Return how many bytes this process held at most."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    code = main(sys.argv[1:])
    print(most_held())  # noqa: T201 data goes to standard output
    sys.exit(code)
