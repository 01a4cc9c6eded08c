"""Hydra's --multirun of our commands: where it is, what its jobs are, and the table at its end."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from summarizer.checkpoint import write_text_atomically
from summarizer.commands.arguments import quoted
from summarizer.commands.jobs import Job, Result, Status, Sweep, read_jobs, run_job
from summarizer.errors import UserError
from summarizer.runtime import configure_logging

logger = logging.getLogger(__name__)

T = TypeVar("T")

TABLE_FILE = "sweep.md"
DATA_FILE = "sweep.json"
_EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"


class SweepWatch(Callback):
    """A callback of Hydra's, named in configs/: notes which sweep this process runs."""

    folders: ClassVar[list[Path]] = []

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        with suppress(OmegaConfBaseException):  # the sweeper meets it next, and may say so: a callback may not
            folder = str(config.hydra.sweep.dir)
            self.folders.append(Path(folder))
            with read_write(config.hydra):  # one folder, also where the jobs differ in what it depends on
                config.hydra.sweep.dir = folder
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(folder)}")


def is_job() -> bool:
    """Whether Hydra runs one job of several now."""
    return bool(HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN)


def sweep_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments, and what lets the names of the jobs tell of that alone in which they differ.

    Raises UserError for a range without values.
    """
    try:
        overrides = OverridesParser.create().parse_overrides([each for each in arguments if not each.startswith("-")])
    except OverrideParseException:
        return list(arguments)  # Hydra says what is wrong
    for each in overrides:
        if each.is_sweep_override():
            _require_values(each)
    same = [str(each.key_or_group) for each in overrides if not each.is_sweep_override()]
    return [*arguments, f"{_EXCLUDED}=[{','.join(f'{chr(39)}{key}{chr(39)}' for key in same)}]"]


def _require_values(override: Override) -> None:
    """Refuse a range with nothing in it."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        if not value.start < value.end:
            raise UserError(f"{override.input_line} is empty: an interval goes from less to more")
        if "log" in value.tags and value.start <= 0:
            raise UserError(f"{override.input_line} must begin above 0, for it is logarithmic")
    elif next(iter(override.sweep_string_iterator()), None) is None:
        raise UserError(f"{override.input_line} is empty: a range goes up to its end, which does not belong to it")


def require_one_process() -> None:
    """Raise UserError where torchrun started several."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        raise UserError(
            f"--multirun runs one job after the other in one process, and torchrun started {count}: start each job "
            "with torchrun and without --multirun, or the sweep without torchrun"
        )


def execute_job(
    sweep: Sweep[T],
    command: Callable[[T], Result | None],
    composed: DictConfig,
    to_config: Callable[[DictConfig], T],
    explain: Callable[[Exception], str],
) -> float:
    """The objective of the job that Hydra composed: :func:`run_job` in the folder that Hydra gave it."""
    hydra = HydraConfig.get()
    folder = Path(hydra.sweep.dir) / str(hydra.sweep.subdir)
    same = set(hydra.job.config.override_dirname.exclude_keys)
    overrides = [each for each in hydra.overrides.task if each.partition("=")[0].lstrip("+~") not in same]

    def configure() -> T:
        try:
            with open_dict(composed):
                OmegaConf.update(composed, sweep.folder_setting, str(folder))
            return to_config(composed)
        except OmegaConfBaseException as error:
            raise UserError(explain(error)) from error

    return run_job(sweep, folder, overrides, configure, sweep.command or command)


@contextmanager
def concluding(sweep: Sweep[T]) -> Iterator[None]:
    """At the end of what is done within, however it comes, print and write the table of the sweep that was run.

    Exits with status 1 if not all of its jobs are finished.
    """
    SweepWatch.folders.clear()
    begun = time.time()
    is_whole = False
    try:
        yield
        is_whole = True
    finally:
        unfinished = [job for folder in SweepWatch.folders for job in _conclude(sweep, folder, begun, is_whole)]
        sweep.forget()
        sys.stdout.flush()
        if is_whole and unfinished:
            sys.exit(1)


def _conclude(sweep: Sweep[T], folder: Path, begun: float, is_whole: bool) -> list[Job]:
    """The jobs of this sweep that are not finished."""
    configure_logging()
    jobs = read_jobs(folder, begun)
    mine = [job for job in jobs if job.record.time >= begun or job.holder]
    if not mine and not (is_whole and jobs):  # refused
        _remove_if_empty(folder)
        return []
    table = sweep.table(folder, jobs)
    print(f"\n{table.text}")
    write_text_atomically(folder / TABLE_FILE, table.text + "\n")
    write_text_atomically(folder / DATA_FILE, json.dumps(table.data, indent=1, ensure_ascii=False) + "\n")
    logger.info("\nwritten to %s: %s, %s", folder, TABLE_FILE, DATA_FILE)
    if table.next_commands:
        logger.info("next:\n  %s", "\n  ".join(table.next_commands))
    return [job for job in mine if job.record.status is not Status.finished]


def _remove_if_empty(folder: Path) -> None:
    """A sweep that was refused leaves nothing but Hydra's note of it, which goes too."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {"multirun.yaml"}:
        (folder / "multirun.yaml").unlink(missing_ok=True)
        folder.rmdir()
