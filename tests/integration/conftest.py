"""Runs the commands as their scripts do, in this process or in one of their own; and one small trained run."""

from __future__ import annotations

import io
import os
import resource
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from summarizer.commands import entry
from summarizer.commands.entry import execute
from summarizer.errors import EXIT_USER_ERROR

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind: exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines that tell the user what is wrong."""
        return [line for line in self.err.splitlines() if line.startswith("error: ")]

    def assert_refused(self, *words: str) -> None:
        """Status 2, one line, the last one, in which all of ``words`` stand; and no summary or table before it."""
        assert self.status == EXIT_USER_ERROR, self
        assert len(self.errors) == 1, self.err
        assert self.err.splitlines()[-1] == self.errors[0]
        assert "Traceback" not in self.err
        assert self.out == ""
        for word in words:
            assert word in self.errors[0]


Command = Callable[..., Outcome]


@dataclass(frozen=True)
class TrainedRun:
    """A finished run, and how it was made."""

    folder: Path
    cache: Path
    arguments: list[str]
    outcome: Outcome


def run_in_subprocess(script: str, *arguments: str, cwd: Path = REPOSITORY, stdin: bytes = b"") -> Outcome:
    """``python scripts/<script>.py arguments``, for real."""
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "scripts" / f"{script}.py"), *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        timeout=300,
        check=False,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def in_subprocess() -> Command:
    """:func:`run_in_subprocess`, for tests: files of tests import nothing from one another."""
    return run_in_subprocess


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a script in this process, which spares it the seconds of importing; its working directory is empty."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the scripts set it: put it back afterwards
    # Hydra composes every config twice: first to see whether hydra.mode is set, which nobody here does.
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda self, config_name, overrides: None)

    def run(script: str, *arguments: str, stdin: bytes = b"") -> Outcome:
        path = str(REPOSITORY / "scripts" / f"{script}.py")
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        GlobalHydra.instance().clear()
        capsys.readouterr()
        status = 0
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        finally:
            GlobalHydra.instance().clear()
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    return run


@pytest.fixture
def accepted(command: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """The config that a script would run its command with; fails unless the command line gives a valid one."""

    def run(script: str, *arguments: str) -> Any:
        configs: list[Any] = []

        # Not the command itself: a module imported for the first time meanwhile would keep the stand-in for good.
        def note(_: Any, *rest: Any) -> None:
            execute(configs.append, *rest)

        monkeypatch.setattr(entry, "execute", note)
        outcome = command(script, *arguments)
        assert outcome.status == 0, outcome.err
        (config,) = configs
        return config

    return run


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """``experiment=smoke``, trained once by the real command. Look, do not touch: tests share it."""
    folder = tmp_path_factory.mktemp("smoke")
    run_dir, cache = folder / "run", folder / "cache"
    arguments = ["experiment=smoke", f"run_dir={run_dir}", f"data.cache_dir={cache}"]
    outcome = run_in_subprocess("train", *arguments, cwd=folder)
    assert outcome.status == 0, outcome.err
    return TrainedRun(run_dir, cache, arguments, outcome)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Where nothing may be read, opened or made."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


@pytest.fixture
def little_memory() -> Iterator[None]:
    """One gigabyte more than there is in use: enough for every honest run here, not for what a config may claim."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    if not pages:
        pytest.skip("needs /proc")
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
