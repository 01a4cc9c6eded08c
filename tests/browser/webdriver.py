"""A headless Chromium, driven through chromedriver: as much of W3C WebDriver as these tests need.

The protocol is JSON over HTTP (https://www.w3.org/TR/webdriver2/), so the standard library speaks it.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = [
    "--headless",
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",  # nothing leaves this machine
    "--disable-component-update",
    "--disable-extensions",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
]
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how the protocol marks a reference to an element
_PATIENCE = 20.0  # seconds: a busy machine is no failure
_KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "End": "\ue010", "Home": "\ue011", "ArrowLeft": "\ue012",
    "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Shift": "\ue008", "Control": "\ue009",
}  # fmt: skip


class WebDriverError(AssertionError):
    """What chromedriver answered instead of a value."""


def missing_programs() -> str | None:
    """What to install before a browser can be driven; None if all is there."""
    if any(map(shutil.which, CHROMIUM)) and shutil.which("chromedriver"):
        return None
    return "needs Chromium and its driver: apt-get install chromium chromium-driver"


class Element:
    """A reference to an element of the page that is open."""

    def __init__(self, browser: Browser, reference: str) -> None:
        self._browser = browser
        self.reference = reference

    @property
    def text(self) -> str:
        """As it is rendered."""
        return str(self._call("GET", "text"))

    def live(self, name: str) -> Any:
        """A property as it is now; an attribute is as it was written."""
        return self._call("GET", f"property/{name}")

    def attribute(self, name: str) -> str | None:
        value = self._call("GET", f"attribute/{name}")
        return None if value is None else str(value)

    def style(self, name: str) -> str:
        return str(self._call("GET", f"css/{name}"))

    @property
    def displayed(self) -> bool:
        return bool(self._call("GET", "displayed"))

    def click(self) -> None:
        self._call("POST", "click", {})

    def clear(self) -> None:
        self._call("POST", "clear", {})

    def type(self, text: str) -> None:
        """Key by key; into a file input, the path of a file."""
        self._call("POST", "value", {"text": text})

    def choose(self, value: str) -> None:
        """The option of a select, by its value."""
        self._browser.find(f'#{self.live("id")} option[value="{value}"]').click()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._browser.call(method, f"element/{self.reference}/{path}", body)


class Browser:
    """One window. ``close`` ends the browser and its driver."""

    def __init__(self, profile: Path) -> None:
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._session = ""
        self._address = f"http://127.0.0.1:{self._port()}/session"
        options = {
            "binary": next(path for path in map(shutil.which, CHROMIUM) if path),
            "args": [*_OPTIONS, f"--user-data-dir={profile}"],
        }
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self._session = self.call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def _port(self) -> str:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                return found[1]
        raise WebDriverError("chromedriver did not start")

    def close(self) -> None:
        try:
            if self._session:
                self.call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(timeout=_PATIENCE)
            if self._driver.stdout is not None:
                self._driver.stdout.close()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        address = "/".join(part for part in (self._address, self._session, path) if part)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
        try:
            with self._opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise WebDriverError(json.load(error)["value"]["message"].split("\n")[0]) from error

    # ---- The page ------------------------------------------------------------------------------------------------

    def open(self, address: str) -> None:
        self.call("POST", "url", {"url": address})

    def find(self, selector: str) -> Element:
        """The first element of a CSS selector, which must exist."""
        found = self.call("POST", "element", {"using": "css selector", "value": selector})
        return Element(self, found[_ELEMENT])

    def all(self, selector: str) -> list[Element]:
        found = self.call("POST", "elements", {"using": "css selector", "value": selector})
        return [Element(self, each[_ELEMENT]) for each in found]

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a function body in the page."""
        given = [{_ELEMENT: each.reference} if isinstance(each, Element) else each for each in arguments]
        return self.call("POST", "execute/sync", {"script": script, "args": given})

    def wait(self, condition: Callable[[], Any], *, seconds: float = _PATIENCE) -> Any:
        """The first value of ``condition`` that is true."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < deadline, f"not within {seconds} s; the page says:\n{self.find('body').text}"
            time.sleep(0.05)

    # ---- What a person does --------------------------------------------------------------------------------------

    def hover(self, element: Element) -> None:
        origin = {_ELEMENT: element.reference}
        move = {"type": "pointerMove", "duration": 0, "origin": origin, "x": 0, "y": 0}
        self._act({"type": "pointer", "id": "mouse", "actions": [move]})

    def leave(self) -> None:
        """Move the mouse to the corner of the window."""
        move = {"type": "pointerMove", "duration": 0, "origin": "viewport", "x": 1, "y": 1}
        self._act({"type": "pointer", "id": "mouse", "actions": [move]})

    def press(self, *keys: str) -> None:
        """Keys by name or character, one after the other; "Shift+Tab" together."""
        actions = []
        for chord in keys:
            codes = [_KEYS.get(key, key) for key in (chord.split("+") if len(chord) > 1 else [chord])]
            actions += [{"type": "keyDown", "value": code} for code in codes]
            actions += [{"type": "keyUp", "value": code} for code in reversed(codes)]
        self._act({"type": "key", "id": "keyboard", "actions": actions})

    def _act(self, source: dict[str, Any]) -> None:
        self.call("POST", "actions", {"actions": [source]})

    # ---- The window ----------------------------------------------------------------------------------------------

    def resize(self, width: int, height: int) -> None:
        """The size of the page's view, as a phone or a screen would give it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """The colour scheme that the system prefers: light or dark."""
        self._devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def print_style(self, wanted: bool) -> None:
        """The page as for paper."""
        self._devtools("Emulation.setEmulatedMedia", {"media": "print" if wanted else ""})

    def _devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self.call("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("GET", "screenshot")))

    def complaints(self) -> list[str]:
        """Errors of the console since the last call, refusals of a content security policy among them."""
        return [
            each["message"] for each in self.call("POST", "se/log", {"type": "browser"}) if each["level"] == "SEVERE"
        ]
