"""Any sequence of events, in any order of answers, keeps the invariants.

However the module is configured, and with statements that are answered late, fail or
never come back. What it stores is compared with `tests/model/reference.py`; a sequence
that fails is a play, in the words of `telling.py` and some more.
"""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import event, given
from twisted.internet.defer import ensureDeferred

from tests.model.cases import cases
from tests.model.faults import LostError
from tests.model.messages import keys, notice_words
from tests.model.play import RECIPIENT, Play
from tests.model.reference import Reference
from tests.model.telling import Telling, places_of


class Events(Telling):
    """A play at random, held against the reference."""

    def __init__(self, play: Play, *, faults: bool) -> None:
        super().__init__(play, pytest.MonkeyPatch())
        self.faults = faults
        self.reference = Reference(play)
        # Up to where each device was handed out its messages, and another server.
        self.answered: dict[str, int] = {}

    def begin(self, *words: str) -> None:
        super().begin(*words)
        batch = self.play.batches[-1]
        assert self.play.config.enforces or not (batch.waited or batch.left_out)
        if batch.waited:
            self.reference.check_may_wait(batch)

    def rest(self) -> None:
        """Let everything come to rest, whatever was lost on the way."""
        self.free()
        super().rest()
        if not self.faults:
            self.reference.check_at_rest()

    def restart(self) -> None:
        self.rest()
        super().restart()

    def upset(self, how: str, which: str) -> None:
        """Let a statement of the module hang, fail, or lose its answer."""
        for step in self.hs.ours()[int(which) :][:1] if self.faults else ():
            step.hangs = how == "hangs"
            if not step.hangs:
                self.hs.answer(step, LostError(), carried_out=how == "lost")

    def read(self, device: str = "R") -> None:
        """Begin to answer a sync; whether it arrives, an acknowledgement tells."""
        token = self.play.read(device)
        reads = self.reference.reads.setdefault((RECIPIENT, device), [])
        reads.append((self.play.tick(), token))
        ensureDeferred(self._hand_out(device, token))

    async def _hand_out(self, device: str, token: int) -> None:
        await self.hs.read(RECIPIENT, device, self.answered.get(device, 0), token)
        self.answered[device] = max(token, self.answered.get(device, 0))

    def sync_again(self, device: str) -> None:
        """Sync with the last token, which deletes what it covers."""
        token = self.answered.get(device, 0)
        self.reference.deliver(lambda: self.hs.acknowledge(RECIPIENT, device, token))

    def send_on(self) -> None:
        """Have the other server answer to what was sent last, and send the rest."""
        sent = self.answered.get("outbox", 0)
        self.reference.deliver(lambda: self.hs.delete_sent("there", sent))
        self.answered["outbox"] = self.hs.stream_token()

    def change(self, device: str) -> None:
        """Let a device upload keys, or be made again."""
        super().change(device)
        changes = self.reference.changes.setdefault(places_of(device)[0], [])
        changes.append(self.play.tick())

    def end(self) -> None:
        """Come to rest, and compare; a sweep finds nothing but for spoofs.

        What faults leave behind, the next notice for each mailbox tidies, in the same
        process: what it takes for learned has nothing left in it.
        """
        self.rest()
        if self.faults:
            self.wait("20")
            for device in ("R", "R2", "there/A1", "there/A2"):
                self.send("notice.key-1.PROBE", "to", device)
            self.reference.check_at_rest(anything_lost=True)
        self.reference.check()
        for stream_id in self.reference.spoofed():
            self.hs.rows("DELETE FROM device_inbox WHERE stream_id = ?", stream_id)
        self.play.end()


messages = notice_words | notice_words | keys.map("olm.{}".format) | st.just("text")
senders = st.sampled_from(["@s:here", "@t:there"])
devices = st.sampled_from(["R", "R2"])
targets = devices | devices | st.sampled_from(["*", "GONE"])
abroad = st.sampled_from(["there/A1", "there/A2", "there/A1,there/A2", "R,there/A1"])
inbound = st.sampled_from(["there/1", "there/2", "elsewhere/1", "elsewhere/2"])


# What happens while a notice is repeated.
AGAIN = "begin {notice} to {device} by {sender}"
MOMENTS = [
    *(AGAIN, AGAIN, "rest", "steps", "read {device}"),
    "read {device}; steps; sync-again {device}",
    "begin olm.key-1 to {device} by {sender}",
]
repeats = st.builds(
    lambda happens, **more: "; ".join([AGAIN, *happens]).format(**more),
    st.lists(st.sampled_from(MOMENTS), min_size=2),
    notice=notice_words,
    device=devices,
    sender=senders,
)
some = st.sampled_from("01")
moves = st.one_of(
    # What a sequence that fails does not need becomes the first of them.
    st.sampled_from(["free", "steps", "rest", "restart", "send-on"]),
    st.builds("begin {} to {} by {}".format, messages, targets, senders),
    st.builds("begin {} to {}".format, messages, abroad),
    st.builds("begin {} by @t:there in {}".format, messages, inbound),
    # What is said to one need not be said to the other.
    st.builds("begin {} + {} to R2 by {}".format, notice_words, notice_words, senders),
    st.sampled_from(["@s:here/*", "@t:there/*"]).map(
        "begin olm to {} by @r:here".format
    ),
    st.just("begin olm to @s:here/S1 by @a:there"),
    *[repeats] * 4,
    st.sampled_from("01234567").map("go-on {}".format),
    some.map("early {}".format),
    st.builds("upset {} {}".format, st.sampled_from(["hangs", "fails", "lost"]), some),
    st.sampled_from(["0", "0.1", "0.6", "1.5", "6"]).map("wait {}".format),
    # Holds run out; not while something waits, which would try patience.
    st.sampled_from(["1440", "3960"]).map("rest; wait {}".format),
    devices.map("read {}".format),
    devices.map("sync-again {}".format),
    (devices | st.sampled_from(["there/A1", "there/A2"])).map("change {}".format),
)


@cases(examples=1000)
@given(
    merge_scopes=st.sampled_from([True, True, False]),
    repeat=st.sampled_from(["queued", "queued", "session"]),
    session_hold_ms=st.just(3_600_000),
    sees_reads=st.booleans(),
    mode=st.sampled_from(["enforce"] * 7 + ["observe"]),
    faults=st.booleans(),
    max_pairs=st.sampled_from([30, 1000]),
    told=st.lists(moves, min_size=20, max_size=60),
)
def test_any_sequence_of_events_keeps_the_invariants(
    faults: bool, max_pairs: int, told: list[str], **config: Any
) -> None:
    """With faults, there may be little room in the memory."""
    play = Play(devices=["R", "R2"], max_pairs=max_pairs if faults else 1000, **config)
    Play.made.pop()
    events = Events(play, faults=faults)
    for move in told:
        events.tell(move)
        play.check()
    events.end()
    event(f"collapsed: {any(batch.left_out for batch in play.batches)}")
