"""Let a Synapse log its statements, and read them.

Synapse logs each statement where it executes it, with the transaction it is part of
and the request it is for. So what a request caused is told exactly from what Synapse
does by itself, which neither its metrics nor pg_stat_statements can. BEGIN and COMMIT
are not logged.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Mapping

import attrs
import yaml

_LINE = re.compile(r"(?P<cause>\S+) \[SQL\] \{(?P<transaction>.+?)-[0-9a-f]+\} ")

# A request that sends a message, as Synapse names it.
_REQUEST = "PUT-"
OF_MODULE = "withheld_"


@attrs.frozen
class Statements:
    """What was executed in a window.

    Attributes:
        of_requests: How often each transaction executed a statement for a request
            to send, or for a background process of the module.
        of_itself: How many statements Synapse executed besides: wake-ups of its
            own parts that come with such a request, and its regular work.
    """

    of_requests: Mapping[str, int]
    of_itself: int

    @property
    def total(self) -> int:
        """Return how many statements the requests caused."""
        return sum(self.of_requests.values())

    @property
    def of_module(self) -> int:
        """Return how many of them are the module's."""
        return sum(
            count
            for transaction, count in self.of_requests.items()
            if transaction.startswith(OF_MODULE)
        )


@attrs.define
class SqlLog:
    """The log of the statements of one Synapse."""

    path: Path
    _read: int = 0

    @classmethod
    def prepare(cls, directory: Path) -> tuple[SqlLog, dict[str, Any]]:
        """Write a `log.yaml`; return the log, and the key that names the file."""
        path, config_path = directory / "sql.log", directory / "sql.log.yaml"
        handler = {
            "class": "logging.FileHandler",
            "filename": str(path),
            "formatter": "line",
            "filters": ["context"],
        }
        context = "synapse.logging.context.LoggingContextFilter"
        config = {
            "version": 1,
            "formatters": {"line": {"format": "%(request)s %(message)s"}},
            "filters": {"context": {"()": context, "request": ""}},
            "handlers": {"file": handler},
            "loggers": {"synapse.storage.SQL": {"level": "DEBUG"}},
            "root": {"level": "WARNING", "handlers": ["file"]},
            "disable_existing_loggers": False,
        }
        config_path.write_text(yaml.safe_dump(config))
        return cls(path), {"log_config": str(config_path)}

    def skip(self) -> None:
        """Begin a window: leave out what was logged so far."""
        self._read = self.path.stat().st_size

    def read(self) -> Statements:
        """Return what was logged since the window began."""
        with self.path.open(errors="replace") as file:
            file.seek(self._read)
            return parse(file.read())


def parse(text: str) -> Statements:
    """Count the statements in a piece of the log."""
    of_requests: Counter[str] = Counter()
    of_itself = 0
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None:
            continue
        if found["cause"].startswith((_REQUEST, OF_MODULE)):
            of_requests[found["transaction"]] += 1
        else:
            of_itself += 1
    return Statements(of_requests, of_itself)
