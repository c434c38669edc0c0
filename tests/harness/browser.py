"""A browser of one's own, and what admins do at the page in it."""

from __future__ import annotations

import os
import time
from typing import Any, Callable

import attrs
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.harness.commands import program
from tests.harness.waiting import LOOK_AGAIN_S, PATIENCE_S

# Width and height in CSS pixels.
PHONE, DESKTOP = (375, 740), (1280, 1000)

# Time stands still: `due` is what would run when the page refreshes next.
CLOCK = """
const later = window.setTimeout;
window.due = null;
window.setTimeout = (run, ms) => ms === 15000 ? (window.due = run, 0) : later(run, ms);
"""


@attrs.frozen
class Chromium:
    """One browser with one tab, whose clock stands still."""

    driver: webdriver.Chrome

    @classmethod
    def start(cls) -> Chromium:
        options = Options()
        options.binary_location = program("chromium")
        for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            # Chromium's sandbox refuses to work for root.
            options.add_argument("--no-sandbox")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        found = cls(webdriver.Chrome(options, Service(program("chromedriver"))))
        found.devtools("Page.addScriptToEvaluateOnNewDocument", source=CLOCK)
        return found

    def resize(self, size: tuple[int, int]) -> None:
        about = {**dict(zip(("width", "height"), size)), "deviceScaleFactor": 1}
        command = "Emulation.setDeviceMetricsOverride"
        self.devtools(command, **about, mobile=size == PHONE)

    def prefer(self, scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of all elements that a CSS selector names."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return [each.text for each in found]

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)


def wait(look: Callable[[], Any], expected: Any) -> None:
    """Look until what is seen is what is expected; no reactor is needed."""
    ends = time.monotonic() + PATIENCE_S
    while (seen := look()) != expected and time.monotonic() < ends:
        time.sleep(LOOK_AGAIN_S)
    assert seen == expected


def is_read(browser: Chromium) -> None:
    """Wait until the page has planned to read again."""
    wait(lambda: browser.run("return window.due !== null"), True)


def show(browser: Chromium, token: str) -> None:
    """Type an access token, and wait until the page shows numbers."""
    browser.find("#token").send_keys(token, Keys.ENTER)
    is_read(browser)
    assert browser.find("#numbers").is_displayed()
