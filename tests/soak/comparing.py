"""What devices were given on stock Synapse and with the module, held together.

What is missing with the module has to be redundant by the table in `docs/design.md`,
as `tests/model/redundancy.py` has it: nothing of the module is looked at.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from typing import Any, Hashable

import attrs

from tests.harness.clients.messages import ENCRYPTED
from tests.model.redundancy import (
    REQUESTS,
    VERIFICATION_REQUEST,
    goes,
    is_notice,
    pair_of,
    says_the_same,
)
from tests.soak.history import END, History
from tests.soak.lane import Lane
from tests.soak.life import DAY_MS, Life, Send
from tests.soak.people import NEVER_ACKNOWLEDGE, SECRET_REQUEST, Reads, number_of

TIMEOUT_MS = 10 * 60 * 1000
# What an answer may take to the other server and back.
ON_THE_WAY_S = 5.0

Place = tuple[str, str, int]


@attrs.define(eq=False)
class Comparison:
    """Everything that happened, on both.

    Attributes:
        reads: How each device reads.
        missing: How many messages are missing with the module, by reason.
        problems: What must not be.
    """

    life: Life
    stock: Lane
    module: Lane
    reads: dict[Place, Reads] = attrs.field(init=False)
    missing: Counter[str] = attrs.Factory(Counter)
    problems: list[str] = attrs.Factory(list)
    _olm: dict[tuple[str, str], list[Send]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reads = {each.place: each.reads for each in self.life.devices}
        self._olm = defaultdict(list)
        for step in self.life.sent.values():
            if step.message_type == ENCRYPTED:
                for user in step.messages:
                    between = step.sender.user.user_id, user.user_id
                    self._olm[between].append(step)

    def compare(self) -> None:
        """Compare all devices."""
        for lane in (self.stock, self.module):
            self.problems += [f"{lane.name}: {failed}" for failed in lane.failed]
        for place in sorted({*self.stock.histories, *self.module.histories}):
            stock = self.stock.histories.get(place, History(place[2]))
            module = self.module.histories.get(place, History(place[2]))
            _Device(self, place, stock, module).compare()

    def had_gone(self, name: tuple[str, str], after: int, before: int = END) -> bool:
        """Say whether a device logged out between two steps."""
        return any(after < gone < before for gone in self.life.gone.get(name, ()))

    def died_between(self, older: int, newer: int) -> bool:
        """Say whether the module started anew between two requests."""
        after, before = self.module.asked[older][1], self.module.asked[newer][0]
        return any(after < died and back < before for died, back in self.module.deaths)

    def rearmed(
        self, notice: dict[str, Any], place: Place, older: int, newer: int
    ) -> bool:
        """Say whether an Olm message passed between the ends of a notice's pair."""
        sender, (recipient, device_id, _) = notice["sender"], place
        for step in self._olm[recipient, sender]:
            if older < step.number < newer:
                return True
        for step in self._olm[sender, recipient]:
            (contents,) = (
                by_device
                for user, by_device in step.messages.items()
                if user.user_id == recipient
            )
            content = contents.get(device_id, {})
            is_key = content.get("sender_key") == notice["content"]["sender_key"]
            if older < step.number < newer and is_key:
                return True
        return False


def left_untidied(comparison: Comparison) -> list[str]:
    """Say what waits with the module that something newer makes redundant.

    Of what came before its last start it cannot know all.
    """
    module = comparison.module
    started = module.deaths[-1][1] if module.deaths else 0.0
    found = []
    for device in comparison.life.devices:
        left = [
            each
            for each in module.waiting(device)
            if module.asked[number_of(each)][0] > started
        ]
        for newer, older in ((b, a) for i, b in enumerate(left) for a in left[:i]):
            if goes(older, newer, merge_scopes=True, newer_seen=True):
                found.append(f"{device.place}: left beside {newer}: {older}")
    return found


@attrs.define(eq=False)
class _Device:
    """What one device was given on both."""

    everything: Comparison
    place: Place
    stock: History
    module: History
    _pairs: dict[Hashable, list[int]] = attrs.field(init=False)
    _why: dict[int, str] = attrs.Factory(dict)

    def __attrs_post_init__(self) -> None:
        self._pairs = defaultdict(list)
        for number, message in self.stock.given.items():
            self._pairs[pair_of(message, merge_scopes=True)].append(number)

    def compare(self) -> None:
        for lane, history in (
            (self.everything.stock, self.stock),
            (self.everything.module, self.module),
        ):
            twice = history.twice - lane.cut_off.keys()
            self._report(f"twice on {lane.name}", twice)
            self._report(f"out of order on {lane.name}", history.unordered)
        stock, module = self.stock.given, self.module.given
        self._report("with the module alone", module.keys() - stock.keys())
        changed = (n for n in module if n in stock and module[n] != stock[n])
        self._report("changed", changed)
        missing = sorted(stock.keys() - module.keys())
        for number in missing:
            self.everything.missing[self._why_missing(number)] += 1
        self._report("lost", (n for n in missing if not self._why_missing(n)))
        now_ts = int(time.time() * 1000)
        told, known = (
            each.known(now_ts, self._is_stale) for each in (self.stock, self.module)
        )
        if told.knows != known.knows:
            for before, after in zip(told.knows, known.knows):
                if before != after:
                    self.everything.problems.append(
                        f"{self.place} knows otherwise: {before} and {after}"
                    )

    def _report(self, what: str, numbers: Any) -> None:
        for number in numbers:
            message = self.stock.given.get(number) or self.module.given.get(number)
            text = f"{self.place}: {what}: {number} {message}"
            self.everything.problems.append(text)

    def _why_missing(self, number: int) -> str:
        """Return why a message is redundant, empty if it is not."""
        if number not in self._why:
            self._why[number] = (
                "superseded" * self._is_superseded(number)
                or "collapsed" * self._is_collapsed(number)
                or "stale" * self._is_stale(number)
                or "vanished" * self._is_vanished(number)
            )
        return self._why[number]

    def _is_superseded(self, number: int) -> bool:
        """Say whether a newer message stood for it when it was to be read."""
        older, bound = self.stock.given[number], self.module.read_after(number)
        return any(
            goes(older, self.stock.given[newer], merge_scopes=True, newer_seen=True)
            and (newer in self.module.given or self._why_missing(newer))
            for newer in self._pair(older)
            if number < newer < bound
        )

    def _is_collapsed(self, number: int) -> bool:
        """Say whether an older notice said the same, and nobody had read it."""
        new, everything = self.stock.given[number], self.everything
        if (
            not is_notice(new["type"], new["content"])
            or everything.reads.get(self.place) in NEVER_ACKNOWLEDGE
        ):
            return False
        return any(
            older in self.module.given
            and says_the_same(self.stock.given[older], new, merge_scopes=True)
            and not everything.rearmed(new, self.place, older, number)
            and not everything.died_between(older, number)
            and not self._was_read(older, number)
            for older in self._pair(new)
            if older < number
        )

    def _was_read(self, older: int, newer: int) -> bool:
        asked = self.everything.module.asked[newer][0]
        came = self.module.came.get(older)
        if came is not None:
            return came + ON_THE_WAY_S < asked
        return self.module.reads_between(older, newer)

    def _is_stale(self, number: int) -> bool:
        """Say whether nobody heeds a request any more."""
        message = self.everything.life.sent[number]
        content = (self.stock.given.get(number) or self.module.given[number])["content"]
        asker = content.get("requesting_device_id")
        if message.message_type == VERIFICATION_REQUEST:
            asker = content["from_device"]
            if content["timestamp"] + DAY_MS + TIMEOUT_MS < time.time() * 1000:
                return True
        elif message.message_type not in REQUESTS or content["action"] != "request":
            return False
        name = message.sender.user.user_id, asker
        return self.everything.had_gone(name, number)

    def _is_vanished(self, number: int) -> bool:
        """Say whether it is a cancellation of what nobody was handed."""
        message = self.stock.given[number]
        if (
            message["type"] != SECRET_REQUEST
            or message["content"]["action"] == "request"
        ):
            return False
        before = [older for older in self._pair(message) if older < number]
        return not any(
            older in self.module.given or self.module.reads_between(older, number)
            for older in before
        )

    def _pair(self, message: dict[str, Any]) -> list[int]:
        return self._pairs[pair_of(message, merge_scopes=True)]
