"""The page's server on a free port, with runs that are no models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_engine import FakeEngine
from raw_client import PATIENCE, Client

from summarizer.demo.server import DemoServer


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    return wait


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def serve(engine: FakeEngine) -> Iterator[Callable[..., Client]]:
    """Starts a server with settings of its own."""
    started: list[DemoServer] = []

    def start(**settings: Any) -> Client:
        server = DemoServer([engine, FakeEngine("second")], **settings)
        server.start()
        started.append(server)
        return Client(server)

    yield start
    engine.gate.set()
    for server in started:
        server.stop()


@pytest.fixture
def client(serve: Callable[..., Client]) -> Client:
    return serve()
