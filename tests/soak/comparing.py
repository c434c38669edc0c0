"""What devices were given on stock Synapse and with the module, held together.

What is missing with the module has to be redundant by the table in `docs/design.md`,
as `tests/model/redundancy.py` has it: nothing of the module is looked at.
"""

from __future__ import annotations

import functools
import time
from collections import Counter, defaultdict
from math import inf
from typing import Any, Hashable, Iterator

import attrs

from tests.model import redundancy
from tests.model.client import SECRET_REQUEST, is_heeded
from tests.soak.history import History
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import Place
from tests.soak.talk import CANCELLATION, DAY_MS

# Readers see a message once all that was being stored before it is stored, too.
READABLE_WITHIN_S = 2.0
# What an answer may take to the other server and back.
ON_THE_WAY_S = 5.0

_goes = functools.partial(redundancy.goes, merge_scopes=True, newer_seen=True)
_pair = functools.partial(redundancy.pair_of, merge_scopes=True)
_says_the_same = functools.partial(redundancy.says_the_same, merge_scopes=True)


def compare(life: Life, stock: Lane, module: Lane) -> tuple[list[str], Counter[str]]:
    """Return what must not be, and how many messages are missing, by reason."""
    problems, missing = [], Counter[str]()
    for lane in (stock, module):
        problems += [f"{lane.name}: {each}" for each in lane.patience.failed]
    for place in sorted({*stock.histories, *module.histories}):
        on_stock = stock.histories.get(place, History())
        on_module = module.histories.get(place, History())
        device = _Device(on_stock, on_module, life, module, place)
        problems += (f"{place}: {each}" for each in device.problems())
        missing.update(device.missing.values())
    return problems, missing


@attrs.define(eq=False)
class _Device:
    on_stock: History
    on_module: History
    life: Life
    module: Lane
    place: Place
    # Why each message is redundant that is missing, empty if it is not.
    missing: dict[int, str] = attrs.Factory(dict)
    _pairs: dict[Hashable, list[int]] = attrs.Factory(lambda: defaultdict(list))

    def __attrs_post_init__(self) -> None:
        for number, message in self.on_stock.given.items():
            self._pairs[_pair(message)].append(number)
        numbers = self.on_stock.given.keys() - self.on_module.given.keys()
        # What makes one redundant is newer, and may be missing itself.
        for number in sorted(numbers, reverse=True):
            self.missing[number] = self._why(number)

    def problems(self) -> Iterator[str]:
        stock, module = self.on_stock.given, self.on_module.given
        wrong = {
            "twice": self.on_module.twice - self.module.patience.cut_off,
            "out of order": self.on_module.unordered,
            "only with the module": module.keys() - stock.keys(),
            "changed": [n for n in module if module[n] != stock.get(n, module[n])],
            "lost": [number for number, why in self.missing.items() if not why],
        }
        for what, numbers in wrong.items():
            for number in numbers:
                yield f"{what}: {stock.get(number) or module[number]}"
        now_ts = int(time.time() * 1000)
        known = self.on_stock.known(now_ts, self._is_stale)
        for before, after in zip(known, self.on_module.known(now_ts, self._is_stale)):
            if before != after:
                yield f"the client knows otherwise: {before} and {after}"

    def _why(self, number: int) -> str:
        ways = {
            "superseded": self._is_superseded,
            "collapsed": self._is_collapsed,
            "stale": self._is_stale,
            "vanished": self._has_vanished,
        }
        return next((why for why, is_so in ways.items() if is_so(number)), "")

    def _message(self, number: int) -> dict[str, Any]:
        return self.on_stock.given.get(number) or self.on_module.given[number]

    def _is_superseded(self, number: int) -> bool:
        """Say whether a newer message stood for it when it was to be read."""
        older, read_s = self._message(number), self._read_s(number)
        return any(
            newer > number
            and self.module.asked[newer][0] < read_s
            and _goes(older, self._message(newer))
            and self.missing.get(newer, "given")
            for newer in self._pairs[_pair(older)]
        )

    def _is_collapsed(self, number: int) -> bool:
        """Say whether an older notice said the same, and nobody had read it.

        And no Olm message passed, and the module was not started.
        """
        new = self._message(number)
        return (
            redundancy.is_notice(new["type"], new["content"])
            and self.on_module.acknowledges
            and any(
                older < number
                and older in self.on_module.given
                and _says_the_same(self._message(older), new)
                and not self._was_read(older, number)
                and not self._was_started(older, number)
                and not self._olm_passed(older, number)
                for older in self._pairs[_pair(new)]
            )
        )

    def _read_s(self, number: int) -> float:
        """Return when it was read first; abroad, until when it was taken for sure."""
        if number in self.on_module.came:
            return self.on_module.came[number] + ON_THE_WAY_S
        readable_s = self.module.asked[number][1] + READABLE_WITHIN_S
        reads = (began for began in self.on_module.reads if began > readable_s)
        return min(reads, default=inf)

    def _was_read(self, older: int, newer: int) -> bool:
        return self._read_s(older) < self.module.asked[newer][0]

    def _was_started(self, older: int, newer: int) -> bool:
        asked = self.module.asked
        return any(
            asked[older][1] < died and back < asked[newer][0]
            for died, back in self.module.deaths
        )

    def _olm_passed(self, older: int, newer: int) -> bool:
        """Say whether an Olm message did, either way."""
        (recipient, device_id, _), message = self.place, self._message(newer)
        sender, key = message["sender"], message["content"]["sender_key"]
        answers, others = (
            [number for number in self.life.olm[between] if older < number < newer]
            for between in ((recipient, sender), (sender, recipient))
        )
        return bool(answers) or any(
            by_device.get(device_id, {}).get("sender_key") == key
            for number in others
            for by_device in self.life.sent[number].messages.values()
        )

    def _is_stale(self, number: int) -> bool:
        """Say whether nobody heeds a request for a day, or who asked logged out."""
        message = self._message(number)
        content = message["content"]
        asker = content.get("requesting_device_id", content.get("from_device"))
        who = message["sender"], asker
        gone = {who} if any(number < each for each in self.life.gone[who]) else ()
        return not is_heeded(message, int(time.time() * 1000) - DAY_MS, gone)

    def _has_vanished(self, number: int) -> bool:
        """Say whether it takes back what nobody was handed."""
        message = self._message(number)
        return (
            message["type"] == SECRET_REQUEST
            and message["content"]["action"] == CANCELLATION
            and not any(
                older in self.on_module.given or self._was_read(older, number)
                for older in self._pairs[_pair(message)]
                if older < number
            )
        )
