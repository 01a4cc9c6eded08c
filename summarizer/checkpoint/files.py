"""Bytes in, files out that a crash cannot tear; and the lock that gives a run folder to one process."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from summarizer.errors import UserError

logger = logging.getLogger(__name__)

# What asking for a lock gives where a file system has none: Lustre mounted without flock, some of NFS and FUSE.
_WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

# Whatever carries this prefix is unfinished or already given up: any later run may delete it.
TEMPORARY_PREFIX = ".tmp-"


def write_synced(path: Path, *parts: bytes | memoryview) -> None:
    """Write ``parts`` one after the other and wait until the disk has them."""
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until the disk has the file ``path``, or the names in that folder: a rename may not survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text_atomically(path: Path, text: str) -> None:
    """:func:`write_bytes_atomically` of ``text`` as UTF-8."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` so that a reader sees the old file or the new one, never a part; make its folder if needed.

    Raises UserError when the file system refuses.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{os.getpid()}")
    with explaining_write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_synced(temporary, content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync(path.parent)


def read_small(path: Path, limit: int) -> bytes:
    """The content of a file that should have at most ``limit`` bytes; OSError where it has more."""
    if path.stat().st_size > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return path.read_bytes()


@contextmanager
def explaining_write_errors(path: Path, error: type[UserError] = UserError) -> Iterator[None]:
    """Turn an OSError while writing ``path`` (disk full, no permission) into one line of type ``error``."""
    try:
        yield
    except OSError as reason:
        message = f"{path} cannot be written: {reason.strerror or reason}"
        raise error(f"{message}; make room there, or choose a folder you may write to") from reason


def remove_folder(path: Path) -> None:
    """Remove a folder; a crash on the way leaves a temporary, never a damaged folder under its own name."""
    if not path.name.startswith(TEMPORARY_PREFIX):
        path = path.rename(path.with_name(f"{TEMPORARY_PREFIX}removed-{path.name}"))
    shutil.rmtree(path)


class ScratchFolder:
    """A new folder in ``parent`` to write into; what has not been renamed away at the end vanishes.

    The kernel's lock on it ends with the process, in any way: so :func:`remove_abandoned` can tell a folder that
    a killed process left from one in use.
    """

    def __init__(self, parent: Path) -> None:
        """Raises OSError when it cannot be made."""
        parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as locks:
            # Until the folder is locked, nobody shall take it for abandoned. Where a file system has no locks for
            # folders, nobody can tell, and nothing is removed.
            with suppress(OSError):
                locks.enter_context(_locked(parent))
            self._folder = Path(tempfile.mkdtemp(dir=parent, prefix=TEMPORARY_PREFIX))
            self._lock = ExitStack()
            with suppress(OSError):
                self._lock.enter_context(_locked(self._folder))

    def __enter__(self) -> Path:
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def remove_abandoned(parent: Path) -> None:
    """Remove what killed processes left in ``parent``: scratch folders and locks; as far as that is possible."""
    with suppress(OSError), _locked(parent):
        for path in parent.glob(f"{TEMPORARY_PREFIX}*"):
            with suppress(OSError), _locked(path, fcntl.LOCK_NB):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@contextmanager
def made_once(path: Path) -> Iterator[None]:
    """While one process makes ``path`` within, others of this machine that come to make it too wait for it here.

    It saves them work and nothing else: where there are no locks all make it, and ``path`` must bear that.
    """
    lock = path.with_name(f"{TEMPORARY_PREFIX}making-{path.name}")
    with ExitStack() as held:
        with suppress(OSError):
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
            held.callback(os.close, descriptor)
            if not _try_lock(descriptor):
                logger.info("waiting for another process, which makes %s", path)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


@contextmanager
def _locked(folder: Path, options: int = 0) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | options)
        yield
    finally:
        os.close(descriptor)


class RunInUseError(UserError):
    """Another process holds the run folder."""


class RunLock:
    """Holds a run folder for this process: ``with RunLock(run_dir): ...``.

    The lock is the kernel's (``flock``), not the presence of a file: it ends with the process, in any way. On a file
    system that has no locks, as some clusters' have none, a warning says so and nobody is kept out. Processes that this
    one forks do not hold it: data loader workers outlive a killed parent by seconds.
    """

    _held: ClassVar[set[int]] = set()  # descriptors

    def __init__(self, run_dir: Path, *, wait_seconds: float = 1.0) -> None:
        self._run_dir = run_dir
        self._wait_seconds = wait_seconds
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        """Raises RunInUseError when another process holds the folder, UserError when it cannot be made or written."""
        with explaining_write_errors(self._run_dir):
            self._run_dir.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._run_dir / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            self._held.add(self._descriptor)
            try:
                self._acquire(self._descriptor)
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _acquire(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while not self._has_got(descriptor):
            if time.monotonic() >= deadline:
                raise RunInUseError(
                    f"run_dir ({self._run_dir}) is in use by {_holder(descriptor)}; wait for it to end, or "
                    "choose another run_dir"
                )
            time.sleep(0.05)
        self._sign(descriptor)

    def _has_got(self, descriptor: int) -> bool:
        try:
            return _try_lock(descriptor)
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            logger.warning(
                "the file system of %s has no locks (%s): see to it that no other process trains there",
                self._run_dir, error.strerror,
            )  # fmt: skip
            return True

    def _sign(self, descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        os.pwrite(descriptor, f"process {os.getpid()} since {since}\n".encode(), 0)

    def _release(self) -> None:
        if self._descriptor in self._held:  # and not given up by a fork
            self._held.remove(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None

    @classmethod
    def give_up(cls) -> None:
        """Close what this process inherited; its parent's lock stays."""
        while cls._held:
            os.close(cls._held.pop())


os.register_at_fork(after_in_child=RunLock.give_up)


def lock_holder(run_dir: Path) -> str | None:
    """Who holds the `RunLock` of ``run_dir`` now ("process 17 since ..."), or None; nothing is written."""
    try:
        descriptor = os.open(run_dir / ".lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _try_lock(descriptor, fcntl.LOCK_SH) else _holder(descriptor)
    except OSError:  # no locks there: nobody can tell
        return None
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    return os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "another process"


def _try_lock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
