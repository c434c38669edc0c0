"""A browser of one's own, and the page of server admins without a Synapse behind it."""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import attrs
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from synapse_withheld.config import Config
from synapse_withheld.operators.metrics import Metrics
from synapse_withheld.operators.pages import asking
from synapse_withheld.operators.pages.answers import Answers, Process
from synapse_withheld.operators.tally import Tally
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
        return cls(webdriver.Chrome(options, Service(program("chromedriver"))))

    def hold_clock(self) -> None:
        """Let the time of all pages stand still."""
        self.devtools("Page.addScriptToEvaluateOnNewDocument", source=CLOCK)

    def stop(self) -> None:
        self.driver.quit()

    def resize(self, size: tuple[int, int]) -> None:
        """Give the page a size, as a phone does."""
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
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Return what the console said since the last call: errors, violations."""
        return [each["message"] for each in self.driver.get_log("browser")]


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


# As behind a reverse proxy that has Synapse below a path of its own.
PREFIX = f"/matrix{asking.PATH}/"
HANGS = object()

PAGE = Path(asking.__file__).with_name("page.html")

NOW_TS = 1_700_000_000_000


_PROCESS = Process("example.org", "master", "1.163.2", NOW_TS - 100_000, lambda: NOW_TS)
_ANSWERS = Answers(
    _PROCESS, Config(), Metrics("page"), Tally(lambda: 0.0), sweeps=False
)


def status(**changed: Any) -> dict[str, Any]:
    """Return what a module that did nothing tells, but for what is changed."""
    return {**_ANSWERS.status(), "state": "acting", "failures": [], **changed}


def top(**changed: Any) -> dict[str, Any]:
    """Return the busiest where there were none, but for what is changed."""
    return {**_ANSWERS.top(1000), **changed}


class PageServer(ThreadingHTTPServer):
    """One server on a free port.

    Attributes:
        answers: What it answers below `PREFIX` to a path without its parameters:
            JSON, bytes that are none, a status alone, or `HANGS`.
        asked: Path, parameters and `Authorization` of each request for those.
    """

    daemon_threads = True

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}{PREFIX}"
        self.answers = answers
        self.asked: list[tuple[str, str | None]] = []
        self.ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End it, and what hangs."""
        self.ended.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        path = self.path.partition(PREFIX)[2]
        if path:
            self.server.asked.append((path, self.headers["Authorization"]))
        answer: Any = self.server.answers.get(path.partition("?")[0], 404)
        kind = "application/json"
        if self.path == PREFIX:
            answer, kind = PAGE.read_bytes(), "text/html; charset=utf-8"
        if answer is HANGS:
            self.server.ended.wait()
            return
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        if isinstance(answer, int):
            answer = {"errcode": "M_UNKNOWN", "error": ""}
        self.wfile.write(
            answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        )

    def log_message(self, *_: Any) -> None:
        pass
