"""Note where a sweep is, so that the next one can go on there."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional, Tuple

from synapse_withheld.cli.arguments import CannotSayError
from synapse_withheld.rules.identifiers import is_storable
from synapse_withheld.rules.mailbox import MailboxKey
from synapse_withheld.sweep.walk import Progress

# More than any place takes, and so little that it is written at once.
MOST_BYTES = 65_536

# Where a sweep begins, `None` at the beginning; and what notes where it is.
Place = Tuple[Optional[MailboxKey], Callable[[Progress], None]]

# What a sweep is, by name: of any other sweep a place says nothing.
Work = Mapping[str, Any]


@contextmanager
def noted_in(file: Path | None, work: Work) -> Iterator[Place]:
    """Read a place from a file, and keep other sweeps from it meanwhile.

    A file that is missing or empty is one at the beginning; `None` is none.
    """
    if file is None:
        yield None, lambda _: None
        return
    with ExitStack() as stack:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mailbox = _read(descriptor, work)
            # That it can be written is known before the first row goes.
            _write(descriptor, work, mailbox)
        except BlockingIOError as error:
            problem = f"{file} is in use by another sweep; name another file"
            raise CannotSayError(problem) from error
        except OSError as error:
            problem = f"{file} cannot be written: {error.strerror}; name another file"
            raise CannotSayError(problem) from error
        except ValueError as error:
            raise CannotSayError(f"{file} {error}; name another file") from error
        yield mailbox, lambda progress: _note(descriptor, work, progress)


def _note(descriptor: int, work: Work, progress: Progress) -> None:
    if progress.done:
        os.ftruncate(descriptor, 0)
    else:
        _write(descriptor, work, progress.mailbox)


def _write(descriptor: int, work: Work, mailbox: MailboxKey | None) -> None:
    user_id, device_id = mailbox or (None, None)
    noted = {"work": work, "user_id": user_id, "device_id": device_id}
    # At once, so that a sweep that is killed leaves no half of it; what was there
    # before may go on behind the line.
    os.pwrite(descriptor, json.dumps(noted).encode() + b"\n", 0)


def _read(descriptor: int, work: Work) -> MailboxKey | None:
    line = os.pread(descriptor, MOST_BYTES, 0).partition(b"\n")[0]
    if not line:
        return None
    try:
        noted = json.loads(line)
        begun, mailbox = noted["work"], (noted["user_id"], noted["device_id"])
        is_place = mailbox == (None, None) or all(map(is_storable, mailbox))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        is_place = False
    if not is_place:
        raise ValueError("does not say where a sweep was")
    if begun != work:
        said, here = json.dumps(begun), json.dumps(work)
        raise ValueError(f"is of another sweep: {said}, not {here}")
    return None if mailbox == (None, None) else mailbox
