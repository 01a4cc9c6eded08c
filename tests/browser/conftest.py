"""One headless Chromium for all tests here. They are slow, and skip where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from webdriver import Browser, missing_programs

from summarizer.demo.server import DemoServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing_programs()
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A page of a desktop's size in light colours. A test fails if the console had an error to tell."""
    chromium.resize(1280, 900)
    chromium.prefer("light")
    chromium.complaints()
    yield chromium
    assert chromium.complaints() == []


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine("first run")


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., None]]:
    """Serves these engines, and opens their page."""
    servers: list[DemoServer] = []

    def make(*engines: FakeEngine, text: str = "") -> None:
        server = DemoServer(engines, text=text)
        server.start()
        servers.append(server)
        browser.open(server.address)
        browser.wait(lambda: browser.find("#runs").text)

    yield make
    browser.open("about:blank")
    for server in servers:
        server.stop()
