"""A run that nothing happened to, its points of progress, and runs for what shall happen."""

from __future__ import annotations

import multiprocessing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from harness import IMPORTS, MakeRun, Run, tiny_config
from launcher import SLOW, torchrun
from team import LENGTH, MakeTeam, Team, calm

from summarizer.runtime import Strategy


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


@pytest.fixture
def make_team(make_run: MakeRun) -> MakeTeam:
    """So many processes on a run in a new folder, or on the run in ``folder``."""

    def make(
        size: int,
        folder: Path | None = None,
        *,
        strategy: Strategy = Strategy.ddp,
        batching: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Team:
        first = calm(make_run(**{**LENGTH, **settings}), strategy=strategy, **(batching or {}))
        if folder is not None:
            first.config.run_dir = str(folder)
        return Team([first, *(Run(first.config, make_run().notes) for _ in range(size - 1))])

    return make


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Run:
    """The run of a team by one process. Look, do not touch: tests share it."""
    folder = tmp_path_factory.mktemp("alone")
    run = calm(Run(tiny_config(folder / "run", shared_cache, **LENGTH), folder))
    assert run.attempt() == 0, run.output
    return run


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Run:
    """The slow run of a team by torchrun, to which nothing happened. Look, do not touch."""
    folder = tmp_path_factory.mktemp("expected")
    run = calm(Run(tiny_config(folder / "run", shared_cache, **{**LENGTH, **SLOW}), folder))
    with torchrun(run) as process:
        assert process.wait() == 0, process.stdout and process.stdout.read()
    return run
