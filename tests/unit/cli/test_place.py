"""The file that says where a sweep was."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import attrs
import pytest

from synapse_withheld.cli.walking.place import Place, UnreadablePlaceError, Work
from synapse_withheld.sweep.walk import Progress

WORK = Work("db on local:", ("no_olm",), merge_scopes=True, dry_run=False)
MAILBOX = {"user_id": "@u:hs", "device_id": "D"}
NOTED = {**attrs.asdict(WORK), "rules": ["no_olm"], **MAILBOX}
NO_PLACE = "does not say where a sweep was"


@pytest.mark.parametrize(
    ("text", "work", "says"),
    [
        # What another sweep passed over is not what this one would.
        (NOTED, {"database": "db2"}, 'another database: "db on local:", not "db2'),
        (NOTED, {"rules": ("no_olm", "withheld")}, 'other rules: .* "withheld"'),
        (NOTED, {"merge_scopes": False}, "another 'merge_scopes': true, not false"),
        (NOTED, {"dry_run": True}, "of a sweep without --dry-run"),
        ("[]", {}, NO_PLACE),
        ("\xff", {}, NO_PLACE),
        ("[" * 100_000, {}, NO_PLACE),
        ({**MAILBOX, "dry_run": False}, {}, NO_PLACE),
        *(
            ({**NOTED, **wrong}, {}, NO_PLACE)
            for wrong in (
                {"user_id": 5},
                {"user_id": "@a\0:hs"},
                {"device_id": "\ud800"},
                {"device_id": None},
                {"more": 1},
            )
        ),
    ],
)
def test_what_is_no_place_of_such_a_sweep_is_refused_and_stays(
    tmp_path: Path, text: Any, work: dict[str, Any], says: str
) -> None:
    file = tmp_path / "place"
    before = text if isinstance(text, str) else json.dumps(text)
    file.write_text(before, encoding="latin-1")
    for _ in range(2):
        with pytest.raises(UnreadablePlaceError, match=f"{says}.*; name another file"):
            Place(file, attrs.evolve(WORK, **work))
    assert before == file.read_text(encoding="latin-1")


def test_a_file_is_locked_as_long_as_it_is_there(tmp_path: Path) -> None:
    """One that was deleted and made again is another."""
    file = tmp_path / "place"
    first = Place(file, WORK)
    with pytest.raises(UnreadablePlaceError, match="is in use by another sweep"):
        Place(file, WORK)
    first.note(Progress(done=True))
    assert [] == list(tmp_path.iterdir())
    second = Place(file, WORK)
    assert second.mailbox is None
    first.close()
    second.close()


@pytest.mark.parametrize("where", ["nowhere/place", ".", "full disk"])
def test_a_file_that_cannot_be_written_is_noticed_at_once(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(UnreadablePlaceError, match=r"cannot be written: .*; name"):
        Place(tmp_path / where, WORK)


def test_a_sweep_that_is_killed_leaves_a_whole_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was there before, and at whatever moment: it is written at once."""
    file = tmp_path / "place"
    place = Place(file, WORK)
    written: list[str] = []
    pwrite = os.pwrite

    def watch(descriptor: int, data: bytes, offset: int) -> int:
        count = pwrite(descriptor, data, offset)
        written.append(json.loads(file.read_bytes())["device_id"])
        return count

    monkeypatch.setattr(os, "pwrite", watch)
    for device in ("D" * 50, "ü"):
        place.note(Progress(mailbox=("@u:hs", device)))
    place.close()
    assert ["D" * 50, "ü"] == written
    assert ("@u:hs", "ü") == Place(file, WORK).mailbox
