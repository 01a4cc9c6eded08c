"""A function of chunks and many items in, its results out: computed by this process and by others beside it."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from summarizer.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

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

    def map(self, function: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
        """The results of ``function``, which gives one for each item of a chunk, in the order of ``items``.

        Beyond this process, ``function`` and ``items`` must be picklable.
        """
        if self._processes == 1 or len(items) < _FEWEST:
            return function(items)
        chunks = [items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK)]
        with _without_main_script():
            pool = self._pool = self._pool or ProcessPoolExecutor(
                # Spawned, because forking a process that has run torch or CUDA threads can hang the child.
                self._processes - 1,
                mp_context=multiprocessing.get_context("spawn"),
            )
            futures = [pool.submit(function, chunk) for chunk in chunks]
        mine: dict[int, list[Result]] = {}
        for number in reversed(range(len(chunks))):
            if futures[number].cancel():  # nobody has begun it
                mine[number] = function(chunks[number])
        results = (mine[number] if number in mine else future.result() for number, future in enumerate(futures))
        return [result for chunk in results for result in chunk]


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
