"""Open a web page on this machine where texts are summarized with a run, or with two side by side."""

from __future__ import annotations

import errno
import logging
import os
import sys
import webbrowser
from pathlib import Path

from summarizer.checkpoint.files import read_small
from summarizer.config import DemoConfig
from summarizer.demo.engine import Engine, RunEngine
from summarizer.demo.requests import MOST_BYTES
from summarizer.demo.server import DemoServer
from summarizer.errors import UserError
from summarizer.inference import Summarizer
from summarizer.runtime import configure_logging
from summarizer.training.interruption import Interrupted, StopRequest

logger = logging.getLogger(__name__)


def demo(config: DemoConfig) -> None:
    """Serve until a signal ends it. The address alone goes to standard output."""
    configure_logging()
    text = "" if config.input is None else _read(Path(config.input))
    server = _listen(config, _load(config), text)
    with StopRequest() as stop:
        server.start()
        logger.info("the page is at %s and for this machine only; Ctrl-C ends it", server.address)
        print(server.address, flush=True)
        if config.browser and _has_screen():
            webbrowser.open(server.address)
        stop.wait()
        server.stop()
    assert stop.signal_number is not None
    raise Interrupted(stop.signal_number)


def _load(config: DemoConfig) -> list[Engine]:
    runs = [(config.run, config.checkpoint)]
    if config.compare is not None:
        runs.append((config.compare, "best"))
    names = _names([run for run, _ in runs])
    engines: list[Engine] = []
    for (run, checkpoint), name in zip(runs, names, strict=True):
        summarizer = Summarizer.from_run(run, checkpoint=checkpoint, decoding=config.decoding, runtime=config.runtime)
        logger.info("%s: %s parameters, update %d", name, f"{summarizer.model.num_parameters:,}", summarizer.step)
        engines.append(RunEngine(name, summarizer, config.long_document))
    return engines


def _names(runs: list[str]) -> list[str]:
    """The folders' own names, or as much of their paths as tells them apart."""
    parts = [Path(run).resolve().parts for run in runs]
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{parts[0][-1]} ({number})" for number in range(1, len(runs) + 1)]  # one run beside itself


def _listen(config: DemoConfig, engines: list[Engine], text: str) -> DemoServer:
    try:
        return DemoServer(
            engines, port=config.port, text=text, most_waiting=config.queue_size, time_limit=config.time_limit
        )
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise UserError(f"port ({config.port}) {reason}; choose another one, or port=0 for any that is free") from error


def _read(file: Path) -> str:
    try:
        return read_small(file, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"input ({file}) is not UTF-8 text (byte {error.start}): convert it first") from error
    except OSError as error:
        raise UserError(f"input ({file}) cannot be read: {error.strerror}; check the path") from error


def _has_screen() -> bool:
    """Without one, Python would open a browser for the terminal, in the terminal."""
    return sys.stderr.isatty() and (sys.platform == "darwin" or bool({"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)))
