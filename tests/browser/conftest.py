"""One headless Chromium for all tests here. They are slow, and skip where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from webdriver import Browser, missing_programs

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
    """An empty page of a desktop's size in light colours. A test fails if the console had an error to tell."""
    chromium.resize(1280, 900)
    chromium.prefer("light")
    chromium.open("about:blank")
    chromium.complaints()
    yield chromium
    assert chromium.complaints() == []
