"""A run that nothing happened to, its points of progress, and runs for what shall happen."""

from __future__ import annotations

import multiprocessing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from harness import IMPORTS, MakeRun, Run, tiny_config


@pytest.fixture(scope="session", autouse=True)
def server() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTS)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Run:
    """The run that nothing happened to. Look, do not touch: tests share it."""
    folder = tmp_path_factory.mktemp("whole")
    run = Run(tiny_config(folder / "run", shared_cache), folder)
    assert run.attempt() == 0, run.output
    return run


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory, whole: Run) -> list[tuple[str, str]]:
    """(place, name) of each point of progress of the whole run, the making of its cache among them."""
    folder = tmp_path_factory.mktemp("points")
    run = Run(tiny_config(folder / "run", folder / "cache"), folder)
    assert run.attempt(count=True) == 0, run.output
    assert run.differences(whole) == [], "being watched changes the run"
    return run.points()


@pytest.fixture
def make_run(tmp_path: Path, shared_cache: Path) -> MakeRun:
    """Makes runs in folders of the test's own, with the cache that is there or, ``fresh``, with none."""
    numbers = count()

    def make(*, fresh: bool = False, **settings: Any) -> Run:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        return Run(tiny_config(folder / "run", folder / "cache" if fresh else shared_cache, **settings), folder)

    return make
