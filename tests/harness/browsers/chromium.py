"""Drive a Chromium of one's own, without a window."""

from __future__ import annotations

import os
from typing import Any

import attrs
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from tests.harness.processes.programs import program

# Width and height in CSS pixels.
PHONE = (375, 740)
DESKTOP = (1280, 1000)


@attrs.frozen
class Chromium:
    """One browser with one tab; waits are up to the caller."""

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
        driver = webdriver.Chrome(options, Service(program("chromedriver")))
        return cls(driver)

    def stop(self) -> None:
        self.driver.quit()

    def resize(self, size: tuple[int, int]) -> None:
        """Give the page a size, as a phone does."""
        width, height = size
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )

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
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Return what the console said since the last call: errors, violations."""
        return [each["message"] for each in self.driver.get_log("browser")]
