"""Note where a sweep is, so that the next one can go on there."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.sweep.walk import Progress


class UnreadablePlaceError(Exception):
    """A file does not say where a sweep was."""


@attrs.frozen
class Place:
    """Where a sweep begins, and the file that it is noted in.

    Attributes:
        mailbox: Where it begins; `None` at the beginning.
        dry_run: Whether nothing is deleted on the way: then a sweep that deletes
            must not begin here.
    """

    mailbox: MailboxKey | None = None
    dry_run: bool = False
    _file: Path | None = None

    @classmethod
    def read(cls, file: Path | None, *, dry_run: bool) -> Place:
        """Read it from a file, if that is there.

        Raises:
            UnreadablePlaceError: The file holds something else.
        """
        if file is None or not file.exists():
            return cls(None, dry_run, file)
        try:
            noted = json.loads(file.read_text(encoding="utf-8"))
            mailbox = (str(noted["user_id"]), str(noted["device_id"]))
            noted_dry = bool(noted["dry_run"])
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise UnreadablePlaceError(
                f"{file} does not say where a sweep was: {error!r}; name another file"
            ) from error
        if noted_dry != dry_run:
            raise UnreadablePlaceError(
                f"{file} is of a sweep {'with' if noted_dry else 'without'} --dry-run; "
                "name another file"
            )
        return cls(mailbox, dry_run, file)

    def note(self, progress: Progress) -> None:
        """Write down where the sweep is; when it is done, there is no such place."""
        if self._file is None or progress.mailbox is None:
            return
        if progress.done:
            self._file.unlink(missing_ok=True)
            return
        user_id, device_id = progress.mailbox
        noted = {"user_id": user_id, "device_id": device_id, "dry_run": self.dry_run}
        # In one step, so that a sweep that is killed leaves no half of it.
        temporary = self._file.with_name(self._file.name + ".new")
        temporary.write_text(json.dumps(noted), encoding="utf-8")
        temporary.replace(self._file)
