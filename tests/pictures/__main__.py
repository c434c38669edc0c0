"""Draw the pictures of the documentation: `python -m tests.pictures`.

One homeserver with the module, some minutes of traffic, a Prometheus that scrapes it;
then the page in a browser, and the data of the dashboard's panels.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from twisted.internet.threads import deferToThread

from tests.harness.clients.outward import outward_from
from tests.harness.homeservers.remote import RemoteServer
from tests.harness.homeservers.settings import SERVER_NAME
from tests.harness.homeservers.stage import Stage
from tests.harness.metrics import dashboards
from tests.harness.metrics.prometheus import Prometheus
from tests.harness.running import run
from tests.pictures import dashboard, page
from tests.pictures.life import Life, leave_backlog

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
MINUTES = 20.0
MODULE = {"sweep": True}


async def draw(minutes: float, directory: Path) -> int:
    made = iter(range(100))
    stage = Stage(lambda: directory / str(next(made)), lambda: None)
    remote = RemoteServer()
    async with AsyncExitStack() as running:
        running.push_async_callback(stage.end)
        running.push_async_callback(remote.stop)
        await remote.start()
        homeserver = await stage.start(MODULE)
        admin = await homeserver.register("admin", admin=True)
        life = await Life.begin(homeserver, await outward_from(homeserver, remote))
        leave_backlog(homeserver, await homeserver.register("archive"))
        # The sweep begins with a start.
        await homeserver.restart()
        labels = {"job": "synapse", "index": "1"}
        target = urlsplit(homeserver.metrics_url).netloc
        rules = dashboards.RULES.read_text()
        prometheus = Prometheus(directory / "prometheus", target, labels, rules)
        running.push_async_callback(prometheus.stop)
        await prometheus.start()
        await life.go_on(minutes * 60)
        PICTURES.mkdir(exist_ok=True)
        token = admin.access_token
        file = PICTURES / "page.png"
        await deferToThread(page.draw, homeserver.base_url, token, file)
        chosen = {"server_name": SERVER_NAME, "instance": target, "bucket_size": "1m"}
        panels = await dashboard.ask(prometheus, {**labels, **chosen}, minutes * 60)
        dashboard.draw(panels, PICTURES / "dashboard.png")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.pictures", description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of traffic")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="withheld-pictures-") as temporary:
        sys.exit(run(lambda: draw(arguments.minutes, Path(temporary))))
