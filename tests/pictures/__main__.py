"""Draw the pictures of the documentation: `python -m tests.pictures`.

One homeserver with the module, some minutes of traffic, a Prometheus that scrapes it;
then the page in a browser, and the data of the dashboard's panels.
"""

from __future__ import annotations

import base64
import random
import re
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from matplotlib.figure import Figure
from twisted.internet.threads import deferToThread

from synapse_withheld.operators.pages.asking import PATH
from tests.harness import dashboards
from tests.harness.backlog import notice, other
from tests.harness.browser import Chromium, show
from tests.harness.client import Client
from tests.harness.messages import ENCRYPTED, make_key, make_notice, make_olm_lookalike
from tests.harness.senders import Outward, outward_from
from tests.harness.servers.homeserver import Homeserver
from tests.harness.servers.prometheus import Prometheus
from tests.harness.servers.remote import RemoteServer
from tests.harness.servers.settings import SERVER_NAME
from tests.harness.servers.stage import send
from tests.harness.waiting import pause, run

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
SECONDS = 20 * 60

# People, and how likely each is to be the one whose device complains next.
PEOPLE = {"anna": 34, "bela": 21, "chidi": 13, "dana": 8, "emre": 5, "fatima": 3}
# Devices that are away; somebody reads at them only now and then.
AWAY = ("tablet", "old-phone", "laptop", "work")
BACKLOG = 20_000

WIDTH, COLUMNS, STEP_S = 1200, 3, 5.0


async def draw(directory: Path) -> int:
    remote = RemoteServer()
    homeserver = Homeserver(directory / "homeserver", module={"sweep": True})
    labels = {"job": "synapse", "index": "1"}
    target = urlsplit(homeserver.metrics_url).netloc
    rules = dashboards.RULES.read_text()
    prometheus = Prometheus(directory / "prometheus", target, labels, rules)
    async with AsyncExitStack() as running:
        for each in (remote, homeserver, prometheus):
            running.push_async_callback(each.stop)
        await homeserver.start()
        outward = await outward_from(homeserver, remote)
        leave_backlog(homeserver, await homeserver.register("archive"))
        # The sweep begins with a start.
        await homeserver.restart()
        await prometheus.start()
        await live(homeserver, outward)
        admin = await homeserver.register("admin", admin=True)
        await deferToThread(draw_page, homeserver.base_url, admin.access_token)
        chosen = {"server_name": SERVER_NAME, "instance": target, "bucket_size": "1m"}
        await draw_dashboard(prometheus, {**labels, **chosen})
    return 0


def leave_backlog(homeserver: Homeserver, recipient: Client) -> None:
    """Put a mailbox full of copies into the database, as from before the module."""
    texts = [*(notice(device=f"DEV{number}") for number in range(7)), *[other()] * 3]
    key = recipient.user_id, recipient.device_id
    rows = ((*key, each - BACKLOG, texts[each % 10]) for each in range(BACKLOG))
    sql = "INSERT INTO device_inbox (user_id, device_id, stream_id, message_json)"
    with homeserver.connected() as cursor:
        cursor.execute("BEGIN")
        cursor.executemany(f"{sql} VALUES (?, ?, ?, ?)", rows)
        cursor.execute("COMMIT")


async def live(homeserver: Homeserver, outward: Outward) -> None:
    people = [await homeserver.register(name) for name in PEOPLE]
    devices = [await homeserver.register(f"away-{name}") for name in AWAY]
    chance = random.Random(7)  # noqa: S311 no secret
    ends, busy = time.monotonic() + SECONDS, 4.0
    while time.monotonic() < ends:
        busy = min(8.0, max(0.5, busy * chance.uniform(0.9, 1.11)))
        (person,) = chance.choices(people, [*PEOPLE.values()])
        away = chance.choice(devices)
        key = make_key(person.user_id)
        what = chance.random()
        if what < 0.80:
            await send(person, away, make_notice(key, person.device_id))
        elif what < 0.90:
            await send(person, away, make_olm_lookalike(key), ENCRYPTED)
        elif what < 0.93:
            await away.drain()
        else:
            await outward.send(outward.notice())
        await pause(chance.expovariate(busy))


def draw_page(base_url: str, token: str) -> None:
    browser = Chromium.start()
    try:
        browser.resize((WIDTH, 900))
        browser.prefer("light")
        browser.driver.get(f"{base_url}{PATH}/")
        show(browser, token)
        height = browser.run("return document.documentElement.scrollHeight")
        browser.resize((WIDTH, height))
        shot = browser.devtools("Page.captureScreenshot", format="png")
        (PICTURES / "page.png").write_bytes(base64.b64decode(shot["data"]))
    finally:
        browser.driver.quit()


async def draw_dashboard(prometheus: Prometheus, values: dict[str, str]) -> None:
    """Draw what every panel asks for that has a time axis."""
    every = dashboards.dashboard()["panels"]
    panels = [panel for panel in every if panel["type"] == "timeseries"]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(4.6 * COLUMNS, 2.5 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).flat
    end, begin = time.time(), time.time() - SECONDS
    for axis, panel in zip(axes, panels):
        for target in panel["targets"]:
            text = dashboards.fill_in(target["expr"], values)
            legend = re.sub(r"\{\{(\w+)\}\}", r"$\1", target["legendFormat"])
            # What tells processes apart changes from run to run.
            legend = "$job" if "$instance" in legend else legend
            for found in await prometheus.query_range(text, begin, end, STEP_S):
                minutes = [(float(at) - begin) / 60 for at, _ in found["values"]]
                numbers = [float(value) for _, value in found["values"]]
                # Everything is counted from zero; what never happened has no line.
                if any(numbers):
                    label = dashboards.fill_in(legend, found["metric"])
                    axis.plot(minutes, numbers, linewidth=1.2, label=label)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        axis.set_title(f"{panel['title']} ({unit})", fontsize=10, loc="left")
        axis.set_xlabel("minutes", fontsize=8)
        axis.set_ylim(bottom=0)
        if axis.lines:
            axis.legend(fontsize=7, frameon=False)
    figure.savefig(PICTURES / "dashboard.png", dpi=75)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="withheld-pictures-") as temporary:
        sys.exit(run(lambda: draw(Path(temporary))))
