"""What a rule makes of a message that it names, and what there is to a rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Tuple

import attrs

from synapse_withheld.rules.decision import Decision

# (user ID, device ID) of who waits for an answer.
Asker = Tuple[str, str]

# What a stored notice stands for within its pair: a variant, and the key or the
# content that this is about; `ANY` for all of them.
Slot = Tuple[str, str]
ANY = ""


class Pair(NamedTuple):
    """Who tells: the sender's device and the message type, within one mailbox.

    Of two messages of one pair and one rule, the newer stands to the older as the rule
    says; messages of different pairs never do.

    Attributes:
        device: What the message says of the sender's device; each rule has its way.
        message_type: The type, or what the types of the rule have in common.
        scope: What else the message is about, where that tells pairs apart.
    """

    sender: str
    device: str
    message_type: str
    scope: tuple[str | None, ...] | None = None


# A rule's name and a pair of it.
PairOfRule = Tuple[str, Pair]


@attrs.frozen
class Notice:
    """A well-formed message that a rule names.

    Attributes:
        key: Of a rule about Olm sessions the Curve25519 key of the sender's device:
            what an Olm message re-arms. Of others what equal contents have in common.
        variant: Which of the things that such a message can say.
        expires_ts: From when on no client heeds it, in milliseconds since 1970; `None`
            for never.
        from_device: The device of the sender that waits for an answer. Once that does
            not exist, no client heeds it any more. `None` if nobody waits for one.
    """

    rule: Rule
    pair: Pair
    key: str
    variant: str
    expires_ts: int | None = None
    from_device: str | None = None

    @property
    def pair_of_rule(self) -> PairOfRule:
        """Return what it is compared within."""
        return self.rule.name, self.pair

    @property
    def asker(self) -> Asker | None:
        """Return who waits for an answer."""
        device = self.from_device
        return None if device is None else (self.pair.sender, device)

    def has_expired(self, now_ts: int) -> bool:
        """Say whether no client heeds it any more."""
        return self.expires_ts is not None and self.expires_ts <= now_ts


class Rule(ABC):
    """One kind of messages that go stale while they wait.

    Attributes:
        name: As the configuration and metrics name it.
        types: The types of the messages.
        marks: What the text of every row with such a message contains one of.
        about_keys: Whether a message tells of the Olm session with one key: then it
            may collapse, and an Olm message re-arms it. Messages of other rules are
            always stored, and may only make older ones redundant.
        once_per_session: Whether one that was delivered may stand for later ones, with
            `repeat: session`.
        vanishes: Whether what is cancelled takes its cancellation along, where nobody
            was handed it.
    """

    name: ClassVar[str]
    types: ClassVar[frozenset[str]]
    marks: ClassVar[tuple[str, ...]]
    about_keys: ClassVar[bool]
    once_per_session: ClassVar[bool] = False
    vanishes: bool = False

    @abstractmethod
    def read(self, sender: str, message_type: str, content: object) -> Notice | None:
        """Return the notice that a message of one of `types` is, if it is one.

        The sender may have made the content anything that JSON can hold.
        """

    @abstractmethod
    def takes(self, notice: Notice, *, seen_arriving: bool) -> tuple[Slot, ...]:
        """Return the slots that a stored notice takes.

        It was seen arriving where this process did so and checked its sender.
        """

    @abstractmethod
    def yields_to(self, notice: Notice) -> tuple[Slot, ...]:
        """Return the slots of which one, taken by a newer one, makes it redundant.

        Newer notices of the same pair, that is. They are few, so that no notice is ever
        compared with all that a pair has.
        """

    @abstractmethod
    def says_as_much(self, queued: Notice, notice: Notice) -> bool:
        """Say whether a queued notice of the same pair says all that a new one says.

        Never so where every message is to be stored.
        """

    @abstractmethod
    def why_stored(self, queued: Notice, notice: Notice) -> Decision:
        """Say why a new notice is stored though one of its pair is queued.

        To supersede where it makes that one redundant, to deliver where both stay.
        """
