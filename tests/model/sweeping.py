"""The real sweep over the model's database, at the end of a play."""

from __future__ import annotations

from typing import Any, Callable

from synapse_withheld.cli.shared.walking.walk import driven
from synapse_withheld.config import Config, RulesConfig
from synapse_withheld.database.database import Database
from synapse_withheld.rules.ruleset import Ruleset
from synapse_withheld.sweep.walk import Options, Sweep
from tests.model.homeserver import ModelHomeserver

# (user ID, device ID, stream ID)
SweptRow = tuple[str, str, int]


def swept_away(
    hs: ModelHomeserver,
    *,
    merge_scopes: bool = True,
    rules: RulesConfig | None = None,
    now_ts: int = 0,
) -> list[SweptRow]:
    """Sweep, and return which rows went."""

    async def run(_: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(hs.database.cursor(), *arguments)

    config = Config(merge_scopes=merge_scopes, rules=rules or RulesConfig())
    database = Database(run, "sqlite3", stream_token=hs.stream_token)
    sweep = Sweep(database, Options(rules=Ruleset.of(config), now_ts=now_ts))
    before = _places(hs)
    while not sweep.progress.done:
        driven(sweep.step())
    return sorted(before - _places(hs))


def _places(hs: ModelHomeserver) -> set[SweptRow]:
    sql = "SELECT user_id, device_id, stream_id FROM device_inbox"
    return {(user, device, at) for user, device, at in hs.rows(sql)}
