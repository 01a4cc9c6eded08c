"""A checkpoint folder in, all that is wrong with it out; nothing is raised and nothing changed.

It reads through the functions that load a checkpoint: what has no fault here is what they accept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from summarizer.checkpoint.format import (
    JSON,
    MANIFEST_FILE,
    MEMBER_FILES,
    MODEL_FILE,
    REPLACED_PREFIX,
    TRAINER_TENSORS_FILE,
    DamageError,
    NewerFormatError,
)
from summarizer.checkpoint.loading import read_manifest, read_tensors, read_trainer_state
from summarizer.checkpoint.run_folder import list_checkpoints, list_replaced, step_of

T = TypeVar("T")


@dataclass(frozen=True)
class Examination:
    """What `examine_checkpoint` found."""

    path: Path
    step: int  # in the folder's name
    size: int  # bytes of all files
    saved_at: float  # seconds since 1970, as the file system has it
    faults: list[str]  # "<file>: <what is wrong>"; without any, `load_checkpoint` accepts the folder
    foreign_files: list[str]  # names that nobody wrote here and nobody reads
    too_new: bool  # whole, but of a later release
    weight_shapes: dict[str, tuple[int, ...]] | None  # None if the weights cannot be loaded
    trainer_state: dict[str, JSON] | None  # None if it cannot be loaded

    @property
    def is_valid(self) -> bool:
        return not self.faults


def examine_checkpoint(path: Path) -> Examination:
    """Read and hash all of the checkpoint folder ``path``."""
    faults: list[str] = []
    too_new = False
    weights: dict[str, Tensor] | None = None
    state: dict[str, JSON] | None = None

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except DamageError as error:
            faults.append(f"{error.path.name}: {error.reason}")
            return None

    try:
        manifest = attempt(partial(read_manifest, path))
    except NewerFormatError as error:
        manifest, too_new = None, True
        faults.append(str(error).removeprefix(f"{path}/").partition(";")[0])
    if manifest is not None:
        weights = attempt(partial(read_tensors, path, MODEL_FILE, manifest))
        attempt(partial(read_tensors, path, TRAINER_TENSORS_FILE, manifest))
        state = attempt(partial(read_trainer_state, path, manifest))
    elif not too_new:
        faults += [f"{name}: missing too" for name in sorted(MEMBER_FILES) if not (path / name).exists()]
    files = _files_in(path)
    return Examination(
        path=path,
        step=step_of(path.with_name(path.name.removeprefix(REPLACED_PREFIX))),
        size=sum(status.st_size for status in files.values()),
        saved_at=max((status.st_mtime for status in files.values()), default=0.0),
        faults=faults,
        foreign_files=sorted(files.keys() - MEMBER_FILES - {MANIFEST_FILE}),
        too_new=too_new,
        weight_shapes=None if weights is None else {name: tuple(tensor.shape) for name, tensor in weights.items()},
        trainer_state=state,
    )


def examine_checkpoints(run_dir: Path) -> list[Examination]:
    """All of a run by step, oldest first, with those that the next training would put back (`clean_temporary`).

    A running training deletes old ones meanwhile; what is gone when it has been read is left out.
    """
    found = [examine_checkpoint(path) for path in (*list_checkpoints(run_dir), *list_replaced(run_dir))]
    return sorted((each for each in found if each.path.is_dir()), key=lambda each: each.step)


def _files_in(folder: Path) -> dict[str, os.stat_result]:
    try:
        return {each.name: each.lstat() for each in folder.iterdir()}
    except OSError:  # not to be read, or deleted meanwhile
        return {}
