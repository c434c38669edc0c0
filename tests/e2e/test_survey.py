"""The survey of a real Synapse's database, and what Synapse offers against it."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.web.http_headers import Headers

from tests.e2e.conftest import on_both_databases
from tests.e2e.test_sweep import COPIES, DEVICES, sweep, table, with_backlog
from tests.harness.clients.messages import PLAIN, WITHHELD
from tests.harness.homeservers.homeserver import Homeserver
from tests.harness.homeservers.stage import new_name
from tests.harness.polling import eventually
from tests.harness.processes.commands import command_line
from tests.harness.reactor import in_reactor


def survey(homeserver: Homeserver) -> Any:
    result = command_line(
        *("survey", "-c", "homeserver.yaml", "--pause", "0", "--json"),
        directory=homeserver.log_path.parent,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


@on_both_databases
@in_reactor
async def test_what_stock_synapse_left_is_surveyed(stock: Homeserver) -> None:
    """As the sweep finds it afterwards; and nothing changes."""
    two = await with_backlog(stock)
    before = table(stock, two)
    said = survey(stock)
    assert before == table(stock, two)
    (mailbox,) = [
        each
        for each in said["inbox"]["longest"]
        if each["user_id"] == two.recipient.user_id
    ]
    rows = COPIES * (DEVICES + 1)
    assert (rows, 1) == (mailbox["rows"], mailbox["syncs"])
    shares = {each["type"]: each["share"] for each in mailbox["types"]}
    assert {WITHHELD: 0.75, PLAIN: 0.25} == shares
    _, dry = sweep(stock, "--dry-run")
    rule = said["rules"]["no_olm"]
    assert (dry["redundant"], dry["bytes"]) == (rule["rows"], rule["bytes"])
    assert dry["rows"] == said["inbox"]["rows"]


@in_reactor
async def test_synapse_deletes_rows_of_a_device_that_is_gone(stock: Homeserver) -> None:
    """As the survey says: its admin API does, though the device does not exist."""
    two = await with_backlog(stock)
    before = survey(stock)["inbox"]["gone"]
    user_id, text = two.recipient.user_id, json.dumps({"type": PLAIN})
    stock.query(
        """
        INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)
        VALUES (?, 'DELETED', 1, ?)
        """,
        (user_id, text),
    )
    gone = survey(stock)["inbox"]["gone"]
    more = {name: gone[name] - number for name, number in before.items()}
    assert more == {"mailboxes": 1, "rows": 1, "bytes": len(text)}
    admin = await stock.register(new_name("admin"), admin=True)
    url = f"{stock.base_url}/_synapse/admin/v2/users/{user_id}/devices/DELETED"
    headers = Headers({"Authorization": [f"Bearer {admin.access_token}"]})
    response = await treq.delete(url, headers=headers)
    assert 200 == response.code
    await eventually(lambda: survey(stock)["inbox"]["gone"], before)
    assert COPIES * (DEVICES + 1) == len(table(stock, two))
