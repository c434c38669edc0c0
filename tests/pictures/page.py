"""Take a picture of the page in a real browser."""

from __future__ import annotations

import base64
import time
from pathlib import Path

from synapse_withheld.operators.pages.asking import PATH
from tests.harness.browsers.chromium import Chromium

WIDTH = 1200
LOADS_WITHIN_S = 30.0


def draw(base_url: str, token: str, file: Path) -> None:
    """Write the page of a homeserver, as a server admin sees it."""
    browser = Chromium.start()
    try:
        browser.resize((WIDTH, 900))
        browser.prefer("light")
        browser.driver.get(f"{base_url}{PATH}/")
        browser.find("#token").send_keys(token)
        browser.find("#ask button").click()
        ends = time.monotonic() + LOADS_WITHIN_S
        while not browser.find("#numbers").is_displayed():
            assert time.monotonic() < ends, browser.find("#message").text
            time.sleep(0.1)
        height = browser.run("return document.documentElement.scrollHeight")
        browser.resize((WIDTH, height))
        shot = browser.devtools("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))
    finally:
        browser.stop()
