"""A function of chunks and many items in, its results out: computed by this process and by others beside it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

from summarizer.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
Tell = Callable[[int], object]  # how many more items are done

_CHUNK = 64  # items that a process receives at a time: enough to hide the cost of sending them
_FEWEST = 1024  # items that are worth starting a process for


class Workers:
    """Processes that start when they are first worth it, and stay until the context ends.

    This process works too, from the end of the items on, so the time others take to start is never waited for.
    """

    def __init__(self, processes: int) -> None:
        """Raises UserError for a number below 1."""
        if processes < 1:
            raise UserError(f"processes ({processes}) must be at least 1")
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(
        self, function: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], label: str = "working"
    ) -> list[Result]:
        """The results of ``function``, which gives one for each item of a chunk, in the order of ``items``.

        Beyond this process, ``function`` and ``items`` must be picklable. What takes more than a second shows a
        progress bar with ``label``.
        """
        chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
        with tqdm(total=len(items), desc=label, unit=" examples", delay=1, disable=None, leave=False) as bar:
            if self._processes == 1 or len(items) < _FEWEST:
                results = self._alone(function, chunks, bar.update)
            else:
                results = self._together(function, chunks, bar.update)
        return [result for chunk in results for result in chunk]

    def _alone(
        self, function: Callable[[Sequence[Item]], list[Result]], chunks: Sequence[Sequence[Item]], on_done: Tell
    ) -> list[list[Result]]:
        results = []
        for chunk in chunks:
            results.append(function(chunk))
            on_done(len(chunk))
        return results

    def _together(
        self, function: Callable[[Sequence[Item]], list[Result]], chunks: Sequence[Sequence[Item]], on_done: Tell
    ) -> list[list[Result]]:
        with _without_main_script():
            pool = self._pool = self._pool or ProcessPoolExecutor(
                # Spawned, because forking a process that has run torch or CUDA threads can hang the child.
                self._processes - 1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_end_with_parent,
            )
            futures = [pool.submit(function, chunk) for chunk in chunks]
        mine: dict[int, list[Result]] = {}
        for number in reversed(range(len(chunks))):
            if futures[number].cancel():  # nobody has begun it
                mine[number] = function(chunks[number])
                on_done(len(chunks[number]))
        results = []
        for number, future in enumerate(futures):
            results.append(mine[number] if number in mine else future.result())
            on_done(0 if number in mine else len(chunks[number]))
        return results


def _end_with_parent() -> None:
    """A process of a pool waits for ever for the work that one which was killed would have sent."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _without_main_script() -> Iterator[None]:
    """A process spawned inside does not run the main script's imports, PyTorch among them, which it does not need."""
    main = sys.modules["__main__"]
    saved = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    for name in saved:
        setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in saved.items():
            setattr(main, name, value)
