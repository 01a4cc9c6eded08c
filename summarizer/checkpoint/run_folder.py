"""A run folder in, its checkpoints out: all, the latest that is whole, the best, and those to delete."""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from summarizer.checkpoint.files import (
    TEMPORARY_PREFIX,
    explaining_write_errors,
    read_small,
    remove_folder,
    write_text_atomically,
)
from summarizer.checkpoint.format import (
    REPLACED_PREFIX,
    Checkpoint,
    CheckpointError,
    ModelWeights,
    NewerFormatError,
    checkpoint_folder,
)
from summarizer.checkpoint.loading import load_checkpoint, load_weights
from summarizer.checkpoint.saving import remove_leftovers
from summarizer.errors import UserError

logger = logging.getLogger(__name__)

_LARGEST_BEST = 1 << 16  # bytes; we write less than a hundred
_STEP_FOLDER = re.compile(r"step-(\d{7,})", re.ASCII)


@dataclass(frozen=True)
class Best:
    """The content of ``best.json``: the step whose validation ``metric`` was best so far, and its value."""

    step: int
    metric: str
    value: float


def new_run_folder(parent: Path) -> Path:
    """A new folder in ``parent``, ours whatever else starts in the same second: creating it is what claims it.

    Raises UserError when it cannot be made.
    """
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    with explaining_write_errors(parent):
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise UserError(
                f"{parent} is no folder, or a link to one that is not there: mend it, or name another with run_dir="
            ) from None
        for number in count(1):
            folder = parent / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    raise AssertionError("count() is endless")


def require_run_folder(run_dir: Path) -> Path:
    """``run_dir`` itself, if a training run wrote it and nothing in it leads elsewhere. Raises UserError otherwise."""
    if not run_dir.is_dir():
        raise UserError(f"run ({run_dir}) is no folder; give the run_dir of a training run, such as outputs/<name>")
    if not (run_dir / "config.yaml").is_file():
        raise UserError(f"run ({run_dir}) is not a run folder, for it has no config.yaml; {which_run(run_dir)}")
    refuse_ways_out(run_dir)
    return run_dir


def which_run(folder: Path) -> str:
    """What to name in place of ``folder``, which is no run: one of those in it, as in a sweep's, if there are any."""
    runs = sorted(path.parent for path in folder.glob("*/config.yaml"))
    if not runs:
        return "give the run_dir of a training run, such as outputs/<name>"
    return f"it holds {len(runs)}, so name one of them, such as {runs[-1]}"


def refuse_ways_out(run_dir: Path) -> None:
    """Raise UserError for a link that leads out of ``run_dir``, and for what is no file, such as a pipe.

    The folder may come from a stranger: what is read there must be the run, what is written must stay there.
    """
    inside = Path(os.path.realpath(run_dir))
    for folder, folder_names, file_names in os.walk(run_dir):
        for path in (Path(folder, name) for name in (*folder_names, *file_names)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(inside):
                raise UserError(f"{path} is a link that leads out of the run folder; put there what it points to")
            if path.exists() and not path.is_file() and not path.is_dir():
                raise UserError(f"{path} is neither file nor folder; remove it")


def list_checkpoints(run_dir: Path) -> list[Path]:
    """The checkpoint folders of a run by step, oldest first, whether they are whole or not."""
    found = [path for path in (run_dir / "checkpoints").glob("step-*") if _STEP_FOLDER.fullmatch(path.name)]
    return sorted((path for path in found if path.is_dir()), key=step_of)


def step_of(path: Path) -> int:
    """The step in the name of a checkpoint folder."""
    match = _STEP_FOLDER.fullmatch(path.name)
    assert match is not None, path
    return int(match[1])


def load_latest(run_dir: Path, find_fault: Callable[[Checkpoint], None] = lambda checkpoint: None) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None if the run has none yet; a warning for each one skipped.

    :param find_fault: raises CheckpointError for a checkpoint that is whole, and yet not to be used.
    :raises CheckpointError: all are damaged, or a later release wrote the newest.
    """
    faults: list[CheckpointError] = []
    for path in reversed(list_checkpoints(run_dir)):
        try:
            checkpoint = load_checkpoint(path)
            find_fault(checkpoint)
            return checkpoint
        except NewerFormatError:
            raise
        except CheckpointError as error:
            logger.warning("skipped a checkpoint: %s", error)
            faults.append(error)
    _refuse_if_any(run_dir, faults)
    return None


def load_model_weights(
    run_dir: Path,
    which: str | int = "best",
    find_fault: Callable[[ModelWeights], None] = lambda weights: None,
) -> ModelWeights:
    """The weights for inference: of the ``"best"`` checkpoint, of the ``"last"``, or of a step.

    Without a valid best checkpoint the newest valid one serves, with a warning if one was named; a step asked
    for by number is never replaced by another. Raises UserError for an unknown ``which``, and CheckpointError
    for damage.

    :param find_fault: raises CheckpointError for weights that are whole, and yet not to be used.
    """

    def load(path: Path) -> ModelWeights:
        weights = load_weights(path)
        find_fault(weights)
        return weights

    if str(which).isdecimal():
        return load(_folder_of(run_dir, int(which)))
    if which not in ("best", "last"):
        raise UserError(f"checkpoint ({which}) must be best, last or the number of a step; {_saved_steps(run_dir)}")
    candidates = list(reversed(list_checkpoints(run_dir)))
    if which == "best":
        candidates = _best_folder(run_dir) + candidates
    faults: list[CheckpointError] = []
    for path in candidates:
        try:
            return load(path)
        except NewerFormatError:
            raise
        except CheckpointError as error:
            logger.warning("skipped a checkpoint: %s", error)
            faults.append(error)
    _refuse_if_any(run_dir, faults)
    raise UserError(f"run ({run_dir}) has no checkpoint yet; let the command that trains it save one first")


def prune(run_dir: Path, keep_last: int, protect: Collection[int] = ()) -> list[int]:
    """Delete all checkpoints but the newest ``keep_last`` and the steps in ``protect``; return what went."""
    assert keep_last >= 1, keep_last
    deleted = []
    for path in list_checkpoints(run_dir)[:-keep_last]:
        if step_of(path) in protect:
            continue
        try:
            remove_folder(path)
        except OSError as error:
            logger.warning("%s cannot be deleted: %s; training goes on", path, error.strerror)
        else:
            deleted.append(step_of(path))
    return deleted


def clean_temporary(run_dir: Path) -> None:
    """Remove what a crashed run left half-written. Only for the holder of the folder's `RunLock`."""
    for path in run_dir.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_dir() and not path.is_symlink():
            remove_folder(path)
        else:
            path.unlink()
    remove_leftovers(run_dir / "checkpoints")


def list_leftovers(run_dir: Path) -> list[Path]:
    """What `clean_temporary` would remove or put back: half-written files, if nobody trains here now."""
    folder = run_dir / "checkpoints"
    found = [*run_dir.glob(f"{TEMPORARY_PREFIX}*"), *folder.glob(f"{TEMPORARY_PREFIX}*")]
    return sorted([*found, *folder.glob(f"{REPLACED_PREFIX}*")])


def list_replaced(run_dir: Path) -> list[Path]:
    """The leftovers that `clean_temporary` would put back: old checkpoints whose successor never came."""
    folder = run_dir / "checkpoints"
    names = {path: path.name.removeprefix(REPLACED_PREFIX) for path in folder.glob(f"{REPLACED_PREFIX}*")}
    return sorted(path for path, name in names.items() if _STEP_FOLDER.fullmatch(name) and not (folder / name).exists())


def write_best(run_dir: Path, step: int, metric: str, value: float) -> None:
    """Note in ``best.json`` that the checkpoint of ``step`` is the best by ``metric``."""
    content = asdict(Best(step=step, metric=metric, value=value))
    write_text_atomically(run_dir / "best.json", json.dumps(content, allow_nan=False) + "\n")


def read_best(run_dir: Path) -> Best | None:
    """The content of ``best.json``, or None if there is none. Raises CheckpointError if it is damaged."""
    path = run_dir / "best.json"
    if not path.exists():
        return None
    try:
        best = Best(**json.loads(read_small(path, _LARGEST_BEST)))
        if type(best.step) is int and best.step >= 0 and isinstance(best.metric, str) and math.isfinite(best.value):
            return best
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise CheckpointError(f"{path} is damaged; delete it, and the next validation writes it anew")


def _best_folder(run_dir: Path) -> list[Path]:
    """The folder that ``best.json`` names, alone in a list; an empty list where it names none."""
    try:
        best = read_best(run_dir)
    except CheckpointError as error:
        logger.warning("%s", error)
        return []
    return [] if best is None else [checkpoint_folder(run_dir, best.step)]


def _folder_of(run_dir: Path, step: int) -> Path:
    for path in list_checkpoints(run_dir):
        if step_of(path) == step:
            return path
    raise UserError(f"checkpoint ({step}) is not in {run_dir}; {_saved_steps(run_dir)}")


def _saved_steps(run_dir: Path) -> str:
    steps = [str(step_of(path)) for path in list_checkpoints(run_dir)]
    return f"saved steps: {', '.join(steps) or 'none'}"


def _refuse_if_any(run_dir: Path, faults: Sequence[CheckpointError]) -> None:
    """Checkpoints that cannot be used are not as if there were none."""
    if faults:
        raise CheckpointError(
            f"run_dir ({run_dir}) has {len(faults)} checkpoints, and none can be used ({faults[0]}); "
            "restore one, or start again in another run_dir"
        )
