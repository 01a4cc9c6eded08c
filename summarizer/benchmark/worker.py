"""Processes that get ready for work, wait, and do it when they are asked to, in turn or together."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from summarizer.errors import UserError
from summarizer.runtime import configure_logging

Serve = Callable[[Any], Any]  # a request in, its answer out


class Worker:
    """One such process: what it was asked for last has to be answered before it is asked again."""

    def __init__(self, end: Connection) -> None:
        self._end = end

    def ask(self, request: object) -> None:
        """Begin the work that ``request`` asks for, without waiting for it."""
        with suppress(BrokenPipeError):  # that the process has gone is said where its answer is missed
            self._end.send(request)

    def answer(self) -> Any:
        """Wait for what the process makes of the request; the first answer, None, is that it is ready.

        Raises UserError if the process raised one or has ended, RuntimeError with its traceback for all else.
        """
        try:
            answer = self._end.recv()
        except EOFError as error:
            raise UserError("a process of the benchmark has ended; is there memory for all of them?") from error
        if isinstance(answer, _Failure):
            raise UserError(answer.message) if answer.is_users else RuntimeError(answer.message)
        return answer


class _Failure:
    """Why there is no answer."""

    def __init__(self, message: str, *, is_users: bool) -> None:
        self.message = message
        self.is_users = is_users


@contextmanager
def started(prepare: Callable[[], AbstractContextManager[Serve]]) -> Iterator[Worker]:
    """A process that enters ``prepare()``, and calls what that gives once for each request, for as long as this lasts.

    :param prepare: goes to the new process by pickle: a function of a module, or a ``functools.partial`` of one.
    """
    context = multiprocessing.get_context("spawn")  # with nothing in it that this process has set or loaded
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, prepare))
    with _deaf_to_ctrl_c():
        process.start()
    theirs.close()  # so that its death ends our waiting
    try:
        yield Worker(ours)
        ours.close()  # nothing more will be asked: it ends
        process.join()
    finally:
        process.kill()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """What starts meanwhile stays so: a terminal sends Ctrl-C to all of its processes, and this one, which hears of it
    afterwards, ends the others."""
    resource_tracker.ensure_running()  # which would come with the first process, and undo this
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(end: Connection, prepare: Callable[[], AbstractContextManager[Serve]]) -> None:
    configure_logging(is_quiet=True)  # whoever asks has said what there is to say
    with suppress(BrokenPipeError):  # who would read the answer has gone
        try:
            with prepare() as serve:
                end.send(None)
                for request in _requests(end):
                    end.send(serve(request))
        except UserError as error:
            end.send(_Failure(str(error), is_users=True))
        except BrokenPipeError:
            raise
        except Exception:
            end.send(_Failure(traceback.format_exc(), is_users=False))


def _requests(end: Connection) -> Iterator[Any]:
    with suppress(EOFError):  # the other end was closed
        while True:
            yield end.recv()
