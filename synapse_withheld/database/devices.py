"""The SQL statements about devices: those of a user, and those that are gone."""

from __future__ import annotations

from typing import Sequence

from synapse_withheld.database.sql import Transaction, marks, tuples
from synapse_withheld.rules.notice import Asker


def withheld_read_devices(
    txn: Transaction, user_ids: Sequence[str]
) -> list[tuple[str, str]]:
    """Read `(user_id, device_id)` of all devices that are not hidden."""
    sql = f"""
        SELECT user_id, device_id FROM devices
        WHERE user_id IN ({marks(len(user_ids))}) AND NOT hidden
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, tuple(user_ids))
    return [(user_id, device_id) for user_id, device_id in txn.fetchall()]


def withheld_read_gone(
    txn: Transaction, askers: Sequence[Asker]
) -> list[tuple[str, str]]:
    """Read `(user_id, device_id)` of devices that do not exist any more.

    Of users of this server all that are not there. Of others, those that were
    announced to this server once and are not in its copy of the user's device list,
    while it keeps that up to date: a message may arrive before its device is announced.
    """
    sql = f"""
        WITH asker(user_id, device_id) AS (VALUES {tuples(len(askers), 2)})
        SELECT a.user_id, a.device_id FROM asker AS a
        WHERE CASE WHEN EXISTS (SELECT 1 FROM users AS u WHERE u.name = a.user_id)
        THEN NOT EXISTS (
            SELECT 1 FROM devices AS d
            WHERE d.user_id = a.user_id AND d.device_id = a.device_id
        )
        ELSE EXISTS (
            SELECT 1 FROM device_lists_stream AS l
            WHERE l.user_id = a.user_id AND l.device_id = a.device_id
        )
        AND EXISTS (
            SELECT 1 FROM device_lists_remote_extremeties AS e
            WHERE e.user_id = a.user_id
        )
        AND NOT EXISTS (
            SELECT 1 FROM device_lists_remote_resync AS r WHERE r.user_id = a.user_id
        )
        AND NOT EXISTS (
            SELECT 1 FROM device_lists_remote_cache AS c
            WHERE c.user_id = a.user_id AND c.device_id = a.device_id
        )
        END
    """  # noqa: S608 only question marks are put in
    txn.execute(sql, tuple(part for asker in askers for part in asker))
    return [(user_id, device_id) for user_id, device_id in txn.fetchall()]
