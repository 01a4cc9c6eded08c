"""A file is written whole or not at all, and a run folder belongs to one process at a time."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from summarizer import checkpoint as ckpt
from summarizer.errors import UserError

Save = Callable[..., Path]
OneLine = Callable[[pytest.ExceptionInfo[UserError]], str]

HOLD_THE_LOCK = (
    "import sys, time; from pathlib import Path; from summarizer.checkpoint.files import RunLock\n"
    "with RunLock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)\n"
)


def test_text_is_written_whole_or_not_at_all(
    tmp_path: Path, one_line: OneLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    ckpt.write_text_atomically(path, "old é\n")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(UserError) as error:
            ckpt.write_text_atomically(path, "new")
    assert "No space left" in one_line(error)
    assert path.read_text(encoding="utf-8") == "old é\n"
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, save: Save, one_line: OneLine) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error, ckpt.RunLock(tmp_path / "file"):
        pass
    assert str(tmp_path / "file") in one_line(error)
    with pytest.raises(ckpt.CheckpointError):
        save(tmp_path / "file", 1)


def test_a_run_folder_belongs_to_one_process_until_that_is_killed(tmp_path: Path, one_line: OneLine) -> None:
    command = [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(UserError) as error, ckpt.RunLock(tmp_path / "run", wait_seconds=0):
                pass
            assert f"in use by process {holder.pid} since 2" in one_line(error)
        finally:
            holder.kill()
    with ckpt.RunLock(tmp_path / "run", wait_seconds=0):
        assert f"process {os.getpid()} " in (tmp_path / "run" / ".lock").read_text()


def test_a_forked_process_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    """Data loader workers are such processes, and outlive a training that is killed by seconds."""
    with ExitStack() as processes:
        with ckpt.RunLock(tmp_path):
            processes.enter_context(forked(lambda: time.sleep(60)))
        with ckpt.RunLock(tmp_path):
            pass


def test_of_scratch_folders_only_the_abandoned_are_removed(tmp_path: Path) -> None:
    def write_for_ever() -> None:
        with ckpt.ScratchFolder(tmp_path) as scratch:
            (scratch / "half").touch()
            time.sleep(60)

    with ckpt.ScratchFolder(tmp_path) as mine, forked(write_for_ever) as kill:
        while not list(tmp_path.glob("*/half")):
            time.sleep(0.01)
        ckpt.remove_abandoned(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2, "both are in use"
        kill()
        ckpt.remove_abandoned(tmp_path)
        assert list(tmp_path.iterdir()) == [mine]
    assert list(tmp_path.iterdir()) == []
    ckpt.remove_abandoned(tmp_path / "none")


@contextmanager
def forked(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """A process that works beside this one. Killed at the end, or when that is called for."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()

    def kill() -> None:
        process.kill()
        process.join()

    try:
        yield kill
    finally:
        kill()


def test_a_lock_is_free_after_its_block_even_if_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyError), ckpt.RunLock(tmp_path):
        raise KeyError
    with (
        ckpt.RunLock(tmp_path, wait_seconds=0),
        pytest.raises(UserError),
        ckpt.RunLock(tmp_path, wait_seconds=0),
    ):
        pass


def test_what_one_thread_makes_another_waits_for(tmp_path: Path) -> None:
    """A lock counts for one opening of the file, so that threads stand for processes."""
    path, made = tmp_path / "cache" / "thing", []

    def make() -> None:
        with ckpt.made_once(path):
            if not path.exists():
                time.sleep(0.2)
                made.append(path)
                path.touch()

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [path]
    assert list(path.parent.iterdir()) == [path]


def test_the_lock_of_a_killed_process_is_removed_and_nobody_waits_for_it(tmp_path: Path) -> None:
    lock = tmp_path / ".tmp-making-thing"
    lock.touch()
    with ckpt.made_once(tmp_path / "thing"):
        ckpt.remove_abandoned(tmp_path)
        assert lock.exists(), "it is held"
    lock.touch()
    ckpt.remove_abandoned(tmp_path)
    assert not lock.exists()


def test_a_lock_that_fails_otherwise_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: os.fstat(-1))  # a bad descriptor
    with pytest.raises(UserError, match="cannot be written"), ckpt.RunLock(tmp_path / "run"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_trained_on_with_a_warning(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As that of a cluster may be."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with ckpt.RunLock(tmp_path / "run"):
        assert "has no locks" in caplog.text
        assert ckpt.lock_holder(tmp_path / "run") is None
