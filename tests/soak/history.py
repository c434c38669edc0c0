"""What one device was given, and what its client knows of that."""

from __future__ import annotations

import functools
import json
from typing import Any, Callable

import attrs

from tests.harness.client import Messages
from tests.harness.messages import OLDER_WITHHELD
from tests.model.client import WITHHELD, Client
from tests.soak.people import number_of

# The number of what happens when the life is over.
END = 10**12


@attrs.define(eq=False)
class History:
    """What a device was given, from its login on.

    Attributes:
        born: The number of the step in which it logged in.
        given: The messages, by the number of the step in which they were sent.
        begun: The steps in which it began to read, and when.
        done: The steps in which it was given all that there was.
        twice: Messages that it was given twice without a reason.
        unordered: Messages that came after newer ones.
        came: When messages came, where that is known.
    """

    born: int
    given: dict[int, dict[str, Any]] = attrs.Factory(dict)
    begun: dict[int, float] = attrs.Factory(dict)
    done: list[int] = attrs.Factory(list)
    twice: set[int] = attrs.Factory(set)
    unordered: set[int] = attrs.Factory(set)
    came: dict[int, float] = attrs.Factory(dict)

    def read(self, step: int, messages: Messages, *, again: bool) -> None:
        """Note that it was given all there was, some of it perhaps again."""
        newest = max(self.given, default=0)
        for message in messages:
            number = number_of(message)
            # Synapse deletes what was for an earlier device with its ID, but later.
            if number < self.born:
                continue
            if number not in self.given:
                if number < newest:
                    self.unordered.add(number)
                newest = max(newest, number)
                # Its keys may be in another order each time.
                self.given[number] = _message(json.dumps(message, sort_keys=True))
            elif not again:
                self.twice.add(number)
        self.done.append(step)

    def read_after(self, number: int, readable_s: float) -> int:
        """Return the first step after another in which it read all there was."""
        return next(
            (
                step
                for step in self.done
                # What waited for a device that went was looked at in the database.
                if step > number and self.begun.get(step, float("inf")) > readable_s
            ),
            END,
        )

    def reads_between(self, older: int, newer: int, readable_s: float) -> bool:
        """Say whether it began to read between two steps."""
        return any(
            older < step < newer and at > readable_s for step, at in self.begun.items()
        )

    def known(self, now_ts: int, ignored: Callable[[int], bool]) -> tuple[Any, ...]:
        """Return what its client knows, but for messages that nobody heeds."""
        client = Knowing()
        client.give(
            message for number, message in self.given.items() if not ignored(number)
        )
        client.forget(now_ts, ())
        return client.knows


@functools.cache
def _message(text: str) -> dict[str, Any]:
    """Return the same message to all who are given it: they take much memory."""
    message: dict[str, Any] = json.loads(text)
    return message


class Knowing(Client):
    """A client that knows the older type, and that devices change their keys.

    Of a device that names itself it knows the newest key that has no Olm session.
    """

    def _read_withheld(self, sender: str, content: dict[str, Any]) -> None:
        device_id = content.get("from_device")
        if content["code"] != "m.no_olm" or device_id is None:
            super()._read_withheld(sender, content)
            return
        device = (sender, "device", device_id)
        self.without_olm = {
            known
            for known in self.without_olm
            if known[:3] != device  # type: ignore[index]
        }
        self.without_olm.add((*device, content["sender_key"]))

    def _read(self, sender: str, message_type: str, content: dict[str, Any]) -> None:
        is_older = message_type == OLDER_WITHHELD
        super()._read(sender, WITHHELD if is_older else message_type, content)
