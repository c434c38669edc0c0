"""Put requests through the module: odd in every part that senders have a say in.

What is stored is held against what was sent, as in the model.
"""

from __future__ import annotations

from random import Random
from typing import Any

from tests.harness.rules import EVERY_RULE
from tests.model.batch import Batch
from tests.model.play import Play
from tests.model.reference import Reference

_KEY = "QeAhSkZ61rtR5oJ"
_HERE = ("@a:here", "@b:here", "@a:here", "@:here", "@\0:here", "@\ud800:here")
_NAMES = (*_HERE, "@c:there", "@d:other", "@c:there", "", "@:", "*", "\0:there")
_DEVICES = ("A", "B", "*", "", "\0", "\udfff", "\u202e", "key:" + _KEY, "D" * 300)
_STRING_TYPES: tuple[Any, ...] = (
    *("m.room_key.withheld", "org.matrix.room_key.withheld", "m.room.encrypted"),
    *("m.room_key_request", "m.secret.request"),
    *("m.key.verification.request", "m.key.verification.cancel"),
    *("m.room_key.withheld\0", ""),
)
_OTHER_TYPES = (None, 7, ["m.room_key.withheld"], {"m.room.encrypted": 1})
_KEYS = (
    *("code", "algorithm", "sender_key", "from_device", "room_id", "session_id"),
    *("ciphertext", "reason", "action", "request_id", "requesting_device_id"),
    *("transaction_id", "timestamp", "org.matrix.msgid", "__proto__", ""),
)
_STRINGS = (
    *("m.no_olm", "m.unverified", "m.blacklisted", "request", "request_cancellation"),
    *("m.megolm.v1.aes-sha2", "m.olm.v1.curve25519-aes-sha2", "M.NO_OLM", _KEY, "A"),
    *("", "\0", "\ud83d", "\U0001f511", "x" * 64, "x" * 65, "x" * 255, "x" * 256),
)
_SCALARS: tuple[Any, ...] = (None, True, False, 0, -1, 2**63, 1e308, float("nan"))

_MEGOLM = {"algorithm": "m.megolm.v1.aes-sha2", "sender_key": _KEY}
_NOTICE: dict[str, Any] = {**_MEGOLM, "code": "m.no_olm"}
_OF_DEVICE = {**_NOTICE, "from_device": "A"}
_SESSION = {**_MEGOLM, "code": "m.unverified", "room_id": "A", "session_id": "A"}
_OLM = {
    "algorithm": "m.olm.v1.curve25519-aes-sha2",
    "sender_key": _KEY,
    "ciphertext": {"theirs": {"type": 0, "body": ""}},
}
_REQUEST = {
    "action": "request",
    "request_id": "A",
    "requesting_device_id": "A",
    "transaction_id": "A",
}

DEEPEST = 6
MOST_REQUESTS = 4


def put_through(chance: Random) -> None:
    """Make some requests at random, and put them through.

    Raises:
        AssertionError: Something is lost that no notice stands for, was changed or
            comes in another order; or something failed in the module.
    """
    play = Play(rules=EVERY_RULE)
    Play.made.pop()
    reference = Reference(play)
    play.hs.service_users.add("@b:here")
    for user_id in ("@a:here", "@b:here"):
        for device_id in "AB":
            play.hs.add_device(user_id, device_id)
    for request in requests(chance):
        sent = repr(request.said)
        play.begin_all(
            request.said,
            request.message_type,
            sender=request.sender,
            edu=request.inbound,
        )
        play.hs.come_to_rest()
        assert sent == repr(request.said), "it was changed"
        assert [] == play.failures
    play.check()
    reference.check()


def requests(chance: Random) -> list[Batch]:
    """Return what clients and other servers send, in its order."""
    made = [_request(chance, 0)]
    for number in range(1, chance.randint(1, MOST_REQUESTS)):
        # What is drawn anew seldom has to do with what came before.
        is_new = chance.random() < 0.25
        earlier = chance.choice(made)
        made.append(
            _request(chance, number) if is_new else _again(chance, earlier, number)
        )
    return made


def _again(chance: Random, earlier: Batch, number: int) -> Batch:
    """Return a request to the same devices: an Olm message, or most of the same."""
    inbound = earlier.inbound and (earlier.inbound[0], str(number))
    if chance.random() < 0.25:
        said = {place: dict(_OLM) for place in earlier.said}
        return Batch(earlier.sender, "m.room.encrypted", said, inbound)
    said = {
        place: content if chance.random() < 0.5 else _changed(chance, content)
        for place, content in earlier.said.items()
    }
    return Batch(earlier.sender, earlier.message_type, said, inbound)


def _request(chance: Random, number: int) -> Batch:
    origin = chance.choice((None, None, "there", "other", "", "\0"))
    # A client's type is a string, and it is a user of this server; to users of this
    # server are the messages that come from another one.
    types = _STRING_TYPES if origin is None else (*_STRING_TYPES, *_OTHER_TYPES)
    senders, users = (_HERE, _NAMES) if origin is None else (_NAMES, _HERE)
    often = chance.random() < 0.5
    said = {
        (user_id, chance.choice(_DEVICES)): _content(chance)
        for user_id in chance.choices(users, k=chance.randrange(3))
        for _ in range(chance.randint(1, 3))
    }
    return Batch(
        chance.choice(senders),
        types[0] if often else chance.choice(types),
        said,
        None if origin is None else (origin, str(number)),
    )


def _content(chance: Random) -> Any:
    kind = chance.randrange(8)
    if kind < 4:
        return dict(chance.choice((_NOTICE, _OF_DEVICE, _SESSION, _OLM)))
    if kind == 7:
        return _value(chance, DEEPEST)
    return _changed(chance, chance.choice((_OF_DEVICE, _OLM, _REQUEST, _SESSION, {})))


def _changed(chance: Random, content: Any) -> Any:
    if not isinstance(content, dict):
        return _content(chance)
    some = range(chance.randrange(4))
    return {**content, **{chance.choice(_KEYS): _value(chance, DEEPEST) for _ in some}}


def _value(chance: Random, depth: int) -> Any:
    kind = chance.randrange(7 if depth else 5)
    if kind < 5:
        return chance.choice(_STRINGS if kind < 3 else _SCALARS)
    some = [_value(chance, depth - 1) for _ in range(chance.randrange(4))]
    return some if kind == 5 else {chance.choice(_KEYS): each for each in some}
