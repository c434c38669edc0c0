"""The file that says where a sweep was."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from synapse_withheld.cli.arguments import CannotSayError
from synapse_withheld.cli.walking.place import noted_in
from synapse_withheld.sweep.walk import Progress

WORK: dict[str, Any] = {"database": "db", "rules": ["no_olm"], "dry_run": False}
NOTED: dict[str, Any] = {"work": WORK, "user_id": "@u:hs", "device_id": "D"}
NO_PLACE = "does not say where a sweep was"


@pytest.mark.parametrize(
    ("text", "work", "says"),
    [
        # What another sweep passed over is not what this one would.
        (NOTED, {"database": "db2"}, 'another \'database\': "db", not "db2"'),
        (NOTED, {"rules": ["no_olm", "withheld"]}, "another 'rules': .* \"withheld\""),
        (NOTED, {"dry_run": True}, "another 'dry_run': false, not true"),
        ("\xff", {}, NO_PLACE),
        ("[" * 100_000, {}, NO_PLACE),
        ({**NOTED, "work": 5}, {}, NO_PLACE),
        ({**NOTED, "user_id": "@a\0:hs"}, {}, NO_PLACE),
        ({**NOTED, "device_id": "\ud800"}, {}, NO_PLACE),
        ({**NOTED, "device_id": None}, {}, NO_PLACE),
    ],
)
def test_what_is_no_place_of_such_a_sweep_is_refused_and_stays(
    tmp_path: Path, text: Any, work: dict[str, Any], says: str
) -> None:
    file = tmp_path / "place"
    before = text if isinstance(text, str) else json.dumps(text)
    file.write_text(before, encoding="latin-1")
    refused = pytest.raises(CannotSayError, match=f"{says}.*; name another file")
    with refused, noted_in(file, {**WORK, **work}):
        pass
    assert before == file.read_text(encoding="latin-1")


def test_a_place_is_of_one_sweep_at_a_time_until_that_is_done(tmp_path: Path) -> None:
    """Whatever was there before, and at whatever moment it ends."""
    file = tmp_path / "place"
    in_use = pytest.raises(CannotSayError, match="is in use by another sweep")
    begun = []
    for end in (
        Progress(mailbox=("@u:hs", "D" * 50)),
        Progress(mailbox=("@u:hs", "ü")),
        Progress(done=True),
        Progress(),
    ):
        with noted_in(file, WORK) as (begin, note):
            begun.append(begin)
            with in_use, noted_in(file, WORK):
                pass
            note(end)
    assert [None, ("@u:hs", "D" * 50), ("@u:hs", "ü"), None] == begun


@pytest.mark.parametrize("where", ["nowhere/place", ".", "full disk"])
def test_a_file_that_cannot_be_written_is_noticed_at_once(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    refused = pytest.raises(CannotSayError, match=r"cannot be written: .*; name")
    with refused, noted_in(tmp_path / where, WORK):
        pass
