"""Note where a sweep is, so that the next one can go on there."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from synapse_withheld.cli.walking.walk import RefusedError
from synapse_withheld.rules.identifiers import is_storable
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.sweep.walk import Progress

# More than any place takes, and so little that it is written at once.
MOST_BYTES = 65_536

# What differs between two sweeps, as it is said to those who mixed them up.
_WORDS = {
    "database": "another database",
    "rules": "other rules",
    "merge_scopes": "another 'merge_scopes'",
}


class UnreadablePlaceError(RefusedError):
    """A file does not say where such a sweep was, or cannot be used."""


@attrs.frozen
class Work:
    """What a place is a place of: of any other sweep it says nothing.

    Attributes:
        database: What tells the database from others.
        rules: The names of the rules.
        merge_scopes: Whether notices about different sessions stand for each other.
        dry_run: Whether nothing is deleted on the way.
    """

    database: str
    rules: tuple[str, ...]
    merge_scopes: bool
    dry_run: bool


class Place:
    """Where a sweep begins, and the file that it is noted in.

    The file is locked: a second sweep with it would go on where this one is.

    Attributes:
        mailbox: Where it begins; `None` at the beginning.
    """

    def __init__(self, file: Path | None, work: Work) -> None:
        """Read it from a file, and keep others from it until it is closed.

        A file that is missing or empty is one at the beginning; `None` is none.

        Raises:
            UnreadablePlaceError: The file holds something else, is in use, or cannot
                be written.
        """
        self.mailbox: MailboxKey | None = None
        self._work = work
        self._file = file
        self._descriptor = -1
        if file is None:
            return
        try:
            self._descriptor = _locked(file)
            self._read()
        except OSError as error:
            self.close()
            raise self._refused(f"cannot be written: {error.strerror}") from error
        except UnreadablePlaceError:
            self.close()
            raise

    def note(self, progress: Progress) -> None:
        """Write down where the sweep is; when it is done, there is no such place.

        Raises:
            OSError: It cannot be written.
        """
        if self._file is None:
            return
        if progress.done:
            self._file.unlink(missing_ok=True)
        elif progress.mailbox is not None:
            self._write(progress.mailbox)

    def close(self) -> None:
        """Let others use the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        text = os.pread(self._descriptor, MOST_BYTES, 0)
        if not text.strip():
            # That it can be written is known before the first row goes.
            self._write(None)
            return
        try:
            noted = json.loads(text.decode("utf-8"))
        except (ValueError, RecursionError):
            noted = None
        if not _is_place(noted):
            raise self._refused("does not say where a sweep was")
        if noted["dry_run"] != self._work.dry_run:
            how = "without" if self._work.dry_run else "with"
            raise self._refused(f"is of a sweep {how} --dry-run")
        own = self._noted(None)
        for name, words in _WORDS.items():
            if noted[name] != own[name]:
                other, mine = json.dumps(noted[name]), json.dumps(own[name])
                raise self._refused(f"is of a sweep with {words}: {other}, not {mine}")
        if noted["user_id"] is not None:
            self.mailbox = (noted["user_id"], noted["device_id"])

    def _refused(self, problem: str) -> UnreadablePlaceError:
        return UnreadablePlaceError(f"{self._file} {problem}; name another file")

    def _noted(self, mailbox: MailboxKey | None) -> dict[str, Any]:
        user_id, device_id = mailbox or (None, None)
        work = {**attrs.asdict(self._work), "rules": list(self._work.rules)}
        return {**work, "user_id": user_id, "device_id": device_id}

    def _write(self, mailbox: MailboxKey | None) -> None:
        text = json.dumps(self._noted(mailbox), indent=1).encode() + b"\n"
        # At once and over what was there, so that a sweep that is killed leaves no
        # half of it; spaces are no part of JSON.
        length = max(os.fstat(self._descriptor).st_size, len(text))
        os.pwrite(self._descriptor, text.ljust(length), 0)


def _locked(file: Path) -> int:
    """Return a descriptor of a file, made where it is missing, that nobody else has.

    Raises:
        UnreadablePlaceError: Somebody has it.
        OSError: It cannot be opened for writing.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A sweep that came to its end meanwhile has deleted it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), file.stat()):
                    return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise UnreadablePlaceError(
                f"{file} is in use by another sweep; name another file, or wait for it"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_place(noted: Any) -> bool:
    names = {*attrs.fields_dict(Work), "user_id", "device_id"}
    if not isinstance(noted, dict) or set(noted) != names:
        return False
    mailbox = [noted["user_id"], noted["device_id"]]
    if mailbox == [None, None]:
        return True
    return all(isinstance(each, str) and is_storable(each) for each in mailbox)
