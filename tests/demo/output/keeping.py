"""Say how to use the homeserver that `--keep` leaves running."""

from __future__ import annotations

import json
from typing import Iterable

from tests.demo.driving import Cast
from tests.demo.traffic import REPEATS
from tests.harness.clients.messages import WITHHELD, make_notice
from tests.harness.homeservers.homeserver import Homeserver


def invitation(homeserver: Homeserver, cast: Cast) -> Iterable[str]:
    sender, away = cast.senders[REPEATS], cast.away
    notice = make_notice("any_key", sender.device_id)
    body = json.dumps({"messages": {away.user_id: {away.device_id: notice}}})
    path = f"/_matrix/client/v3/sendToDevice/{WITHHELD}/"
    yield ""
    yield f"Client API  {homeserver.base_url}"
    yield f"Metrics     {homeserver.metrics_url}"
    yield f"Sender      {sender.user_id}  access token {sender.access_token}"
    yield f"Recipient   {away.user_id}  access token {away.access_token}"
    yield f"Process ID  {homeserver.pid}"
    yield f"Settings    {homeserver.log_path.with_name('homeserver.yaml')}"
    yield ""
    yield "Send a notice (run it again: the second one collapses):"
    yield f"  curl -X PUT -H 'Authorization: Bearer {sender.access_token}' \\"
    yield f"    -d '{body}' \\"
    yield f"    {homeserver.base_url}{path}$RANDOM"
    yield "See what was decided:"
    yield f"  curl -s {homeserver.metrics_url} | grep ^synapse_withheld"
    yield ""
