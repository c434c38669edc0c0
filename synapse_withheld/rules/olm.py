"""Recognise Olm messages, which make news of what was told before.

Pure: nothing here knows of Synapse, SQL or time. The form of the messages is that of
the Matrix specification, section "End-to-end encryption".
"""

from __future__ import annotations

from typing import Collection

OLM_TYPE = "m.room.encrypted"


def read_olm(content: object) -> tuple[str | None, Collection[str]] | None:
    """Read the content of an `m.room.encrypted` to-device message.

    Returns:
        The Curve25519 key of the sending device, if it is told, and the keys that
        the message is encrypted for; `None` if this is not an Olm message.
    """
    if not isinstance(content, dict):
        return None
    algorithm = content.get("algorithm")
    if not isinstance(algorithm, str) or not algorithm.startswith("m.olm."):
        return None
    sender_key = content.get("sender_key")
    ciphertext = content.get("ciphertext")
    return (
        sender_key if isinstance(sender_key, str) else None,
        ciphertext.keys() if isinstance(ciphertext, dict) else (),
    )
