"""What devices were given on stock Synapse and with the module, held together.

What is missing with the module has to be redundant by the table in `docs/design.md`,
as `tests/model/redundancy.py` has it: nothing of the module is looked at.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, defaultdict
from typing import Any, Hashable, Iterable

import attrs

from tests.harness.messages import ENCRYPTED
from tests.model import redundancy
from tests.model.client import SECRET_REQUEST, TIMEOUT_MS
from tests.soak.history import History
from tests.soak.lane import Lane
from tests.soak.life import Life
from tests.soak.people import NEVER_ACKNOWLEDGE, number_of
from tests.soak.talk import CANCELLATION, DAY_MS, Said

# Readers see a message once all that was being stored before it is stored, too.
READABLE_WITHIN_S = 2.0
# What an answer may take to the other server and back.
ON_THE_WAY_S = 5.0

Place = tuple[str, str, int]
Message = dict[str, Any]


@attrs.define(eq=False)
class Comparison:
    """Everything that happened on both.

    Attributes:
        missing: How many messages are missing with the module, by reason.
        problems: What must not be.
    """

    life: Life
    stock: Lane
    module: Lane
    missing: Counter[str] = attrs.Factory(Counter)
    problems: list[str] = attrs.Factory(list)
    _forgetful: set[Place] = attrs.field(init=False)
    _olm: dict[tuple[str, str], list[tuple[int, Said]]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._forgetful = {
            each.place for each in self.life.devices if each.reads in NEVER_ACKNOWLEDGE
        }
        self._olm = defaultdict(list)
        for number, said in self.life.sent.items():
            if said.message_type == ENCRYPTED:
                for user in said.messages:
                    between = said.sender.user.user_id, user.user_id
                    self._olm[between].append((number, said))

    def compare(self) -> None:
        lanes = self.stock, self.module
        for lane in lanes:
            failed = lane.patience.failed
            self.problems += [f"{lane.name}: {each}" for each in failed]
        for place in sorted({*self.stock.histories, *self.module.histories}):
            stock, module = (lane.histories.get(place, History(0)) for lane in lanes)
            _Device(self, place, stock, module).compare()

    def find_untidied(self) -> None:
        """Look for what waits with the module beside what makes it redundant.

        What came before the last fault it may have forgotten.
        """
        asked, settled = self.module.asked, self.module.patience.troubled_until
        for device in self.life.devices:
            waiting = self.module.waiting(device)
            left = [each for each in waiting if asked[number_of(each)][0] > settled]
            for older, newer in itertools.combinations(left, 2):
                if _goes(older, newer):
                    self.problems.append(f"{device.place}: {older} beside {newer}")

    def may_collapse(self, place: Place, message: Message, older: int) -> bool:
        """Say whether nothing happened since an older notice that says the same.

        No Olm message, and no start of the module; and the reader acknowledges.
        """
        newer, asked = number_of(message), self.module.asked
        died = any(
            asked[older][1] < died and back < asked[newer][0]
            for died, back in self.module.deaths
        )
        return not (
            died or place in self._forgetful or self._olm_between(place, message, older)
        )

    def _olm_between(self, place: Place, message: Message, older: int) -> bool:
        (recipient, device_id, _), newer = place, number_of(message)
        sender, key = message["sender"], message["content"]["sender_key"]
        answers, others = self._olm[recipient, sender], self._olm[sender, recipient]
        return any(older < number < newer for number, _ in answers) or any(
            older < number < newer
            and by_device.get(device_id, {}).get("sender_key") == key
            for number, said in others
            for by_device in said.messages.values()
        )


@attrs.define(eq=False)
class _Device:
    """What one device was given on both."""

    everything: Comparison
    place: Place
    stock: History
    module: History
    _pairs: dict[Hashable, list[int]] = attrs.field(init=False)
    _whys: dict[int, str] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self._pairs = defaultdict(list)
        for number, message in self.stock.given.items():
            self._pairs[_pair(message)].append(number)

    def compare(self) -> None:
        stock, module = self.stock.given, self.module.given
        everything = self.everything
        for lane, history in (
            (everything.stock, self.stock),
            (everything.module, self.module),
        ):
            self._report(f"twice on {lane.name}", history.twice - lane.patience.cut_off)
            self._report(f"out of order on {lane.name}", history.unordered)
        self._report("only with the module", module.keys() - stock.keys())
        both = module.keys() & stock.keys()
        self._report("changed", (n for n in both if module[n] != stock[n]))
        missing = sorted(stock.keys() - module.keys())
        everything.missing.update(self._why_missing(each) for each in missing)
        self._report("lost", (n for n in missing if not self._why_missing(n)))
        now_ts = int(time.time() * 1000)
        known = self.stock.known(now_ts, self._is_stale)
        for before, after in zip(known, self.module.known(now_ts, self._is_stale)):
            if before != after:
                self._add(f"the client knows otherwise: {before} and {after}")

    def _report(self, what: str, numbers: Iterable[int]) -> None:
        for number in numbers:
            message = self.stock.given.get(number) or self.module.given.get(number)
            self._add(f"{what}: {message}")

    def _add(self, problem: str) -> None:
        self.everything.problems.append(f"{self.place}: {problem}")

    def _why_missing(self, number: int) -> str:
        """Return why a message is redundant, empty if it is not."""
        if number not in self._whys:
            ways = {
                "superseded": self._is_superseded,
                "collapsed": self._is_collapsed,
                "stale": self._is_stale,
                "vanished": self._has_vanished,
            }
            found = (why for why, is_so in ways.items() if is_so(number))
            self._whys[number] = next(found, "")
        return self._whys[number]

    def _is_superseded(self, number: int) -> bool:
        """Say whether a newer message stood for it when it was to be read."""
        older = self.stock.given[number]
        bound = self.module.read_after(number, self._readable_s(number))
        return any(
            number < newer < bound
            and _goes(older, self.stock.given[newer])
            and (newer in self.module.given or self._why_missing(newer))
            for newer in self._pairs[_pair(older)]
        )

    def _is_collapsed(self, number: int) -> bool:
        """Say whether an older notice said the same, and nobody had read it."""
        new = self.stock.given[number]
        return redundancy.is_notice(new["type"], new["content"]) and any(
            older < number
            and older in self.module.given
            and redundancy.says_the_same(
                self.stock.given[older], new, merge_scopes=True
            )
            and not self._was_read(older, number)
            and self.everything.may_collapse(self.place, new, older)
            for older in self._pairs[_pair(new)]
        )

    def _readable_s(self, number: int) -> float:
        return self.everything.module.asked[number][1] + READABLE_WITHIN_S

    def _was_read(self, older: int, newer: int) -> bool:
        """Say whether a read began between two messages; abroad, if one was taken."""
        came = self.module.came.get(older)
        if came is not None:
            return came + ON_THE_WAY_S < self.everything.module.asked[newer][0]
        return self.module.reads_between(older, newer, self._readable_s(older))

    def _is_stale(self, number: int) -> bool:
        """Say whether nobody heeds a request any more."""
        message = self.stock.given.get(number) or self.module.given[number]
        content, asker = message["content"], ""
        if message["type"] == redundancy.VERIFICATION_REQUEST:
            if content["timestamp"] + DAY_MS + TIMEOUT_MS < time.time() * 1000:
                return True
            asker = content["from_device"]
        elif message["type"] in redundancy.REQUESTS and content["action"] == "request":
            asker = content["requesting_device_id"]
        gone = self.everything.life.gone.get((message["sender"], asker), ())
        return any(number < each for each in gone)

    def _has_vanished(self, number: int) -> bool:
        """Say whether it takes back what nobody was handed."""
        message = self.stock.given[number]
        return (
            message["type"] == SECRET_REQUEST
            and message["content"]["action"] == CANCELLATION
            and not any(
                older in self.module.given or self._was_read(older, number)
                for older in self._pairs[_pair(message)]
                if older < number
            )
        )


def _goes(older: Message, newer: Message) -> bool:
    return redundancy.goes(older, newer, merge_scopes=True, newer_seen=True)


def _pair(message: Message) -> Hashable:
    return redundancy.pair_of(message, merge_scopes=True)
