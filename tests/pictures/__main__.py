"""Draw the pictures of the documentation: `python -m tests.pictures`.

One homeserver with the module, some minutes of traffic, a Prometheus that scrapes it;
then the page in a browser, and the data of the dashboard's panels.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from twisted.internet.threads import deferToThread

from synapse_withheld.operators.pages.asking import PATH
from tests.harness import dashboards
from tests.harness.backlog import notice, other
from tests.harness.browser import Chromium, wait
from tests.harness.client import Client
from tests.harness.messages import (
    ENCRYPTED,
    WITHHELD,
    make_key,
    make_notice,
    make_olm_lookalike,
)
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.prometheus import Prometheus
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.servers.stage import send
from tests.harness.waiting import pause, run
from tests.pictures import dashboard

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
MINUTES = 20.0

# People, and how likely each is to be the one whose device complains next.
PEOPLE = {
    "anna": 34,
    "bela": 21,
    "chidi": 13,
    "dana": 8,
    "emre": 5,
    "fatima": 3,
    "gil": 2,
    "hana": 1,
}
# Devices that are away; somebody reads at them only now and then.
AWAY = ("tablet", "old-phone", "laptop", "work")
BACKLOG = 20_000

WIDTH = 1200


async def draw(minutes: float, directory: Path) -> int:
    remote = RemoteServer()
    homeserver = Homeserver(directory / "homeserver", module={"sweep": True})
    labels = {"job": "synapse", "index": "1"}
    target = urlsplit(homeserver.metrics_url).netloc
    rules = dashboards.RULES.read_text()
    prometheus = Prometheus(directory / "prometheus", target, labels, rules)
    async with AsyncExitStack() as running:
        for each in (remote, homeserver, prometheus):
            running.push_async_callback(each.stop)
        await remote.start()
        await homeserver.start()
        outward = await outward_from(homeserver, remote)
        leave_backlog(homeserver, await homeserver.register("archive"))
        # The sweep begins with a start.
        await homeserver.restart()
        await prometheus.start()
        await live(homeserver, outward, minutes * 60)
        PICTURES.mkdir(exist_ok=True)
        admin = await homeserver.register("admin", admin=True)
        await deferToThread(draw_page, homeserver.base_url, admin.access_token)
        chosen = {"server_name": SERVER_NAME, "instance": target, "bucket_size": "1m"}
        panels = await dashboard.ask(prometheus, {**labels, **chosen}, minutes * 60)
        dashboard.draw(panels, PICTURES / "dashboard.png")
    return 0


def leave_backlog(homeserver: Homeserver, recipient: Client) -> None:
    """Put a mailbox full of copies into the database, as from before the module."""
    texts = [*(notice(device=f"DEV{number}") for number in range(7)), *[other()] * 3]
    rows = [[number - BACKLOG, texts[number % 10]] for number in range(BACKLOG)]
    homeserver.query(
        "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json) "
        "SELECT ?, ?, json_extract(value, '$[0]'), json_extract(value, '$[1]') "
        "FROM json_each(?)",
        (recipient.user_id, recipient.device_id, json.dumps(rows)),
    )


async def live(homeserver: Homeserver, outward: Outward, seconds: float) -> None:
    """Let things happen for so long, now more and now less of them."""
    people = [await homeserver.register(name) for name in PEOPLE]
    devices = [await homeserver.register(f"away-{name}") for name in AWAY]
    chance = random.Random(7)  # noqa: S311 no secret
    ends = time.monotonic() + seconds
    busy = 4.0
    while time.monotonic() < ends:
        busy = min(8.0, max(0.5, busy * chance.uniform(0.9, 1.11)))
        (person,) = chance.choices(people, [*PEOPLE.values()])
        away = chance.choice(devices)
        key = make_key(person.user_id)
        what = chance.random()
        if what < 0.80:
            await send(person, away, make_notice(key, person.device_id), WITHHELD)
        elif what < 0.90:
            olm = make_olm_lookalike(key, make_key(away.user_id))
            await send(person, away, olm, ENCRYPTED)
        elif what < 0.93:
            await away.drain()
        else:
            await outward.send(outward.notice())
        await pause(chance.expovariate(busy))


def draw_page(base_url: str, token: str) -> None:
    """Take a picture of the page, as a server admin sees it in a real browser."""
    browser = Chromium.start()
    try:
        browser.resize((WIDTH, 900))
        browser.prefer("light")
        browser.driver.get(f"{base_url}{PATH}/")
        browser.find("#token").send_keys(token)
        browser.find("#ask button").click()
        wait(lambda: browser.find("#numbers").is_displayed(), True)
        height = browser.run("return document.documentElement.scrollHeight")
        browser.resize((WIDTH, height))
        shot = browser.devtools("Page.captureScreenshot", format="png")
        (PICTURES / "page.png").write_bytes(base64.b64decode(shot["data"]))
    finally:
        browser.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.pictures", description=__doc__
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of traffic")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="withheld-pictures-") as temporary:
        sys.exit(run(lambda: draw(arguments.minutes, Path(temporary))))
