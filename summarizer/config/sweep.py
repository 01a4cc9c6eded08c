"""Where a --multirun and its jobs write: ``${sweep_folder:...}`` and ``${job_folder:...}`` in configs/."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from omegaconf import OmegaConf

from summarizer.checkpoint import new_run_folder, require_run_folder
from summarizer.errors import UserError

_LONGEST_NAME = 150  # bytes; most file systems allow 255, and names within the folder are longer


def register_resolvers() -> None:
    OmegaConf.register_new_resolver("sweep_folder", sweep_folder, replace=True)
    OmegaConf.register_new_resolver("evaluation_sweep_folder", evaluation_sweep_folder, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def sweep_folder(chosen: str | None) -> str:
    """``chosen``, or else a new folder below outputs/. Raises UserError for a file, and for the folder of a run."""
    if not chosen:
        return str(new_run_folder(Path("outputs")))
    if Path(chosen).exists() and not Path(chosen).is_dir():
        raise UserError(f"{chosen} is a file, and a sweep needs a folder for its jobs: choose another")
    if Path(chosen, "config.yaml").is_file():
        raise UserError(f"{chosen} is the folder of a run, and a sweep needs one of its own: choose another")
    return chosen


def evaluation_sweep_folder(output: str | None, run: str | None, split: str) -> str:
    """``output``, or else one within the run; where several runs or files are scored, a new folder below outputs/.

    Raises UserError for what is no run, in which a folder would be made.
    """
    if run and not output:
        output = str(require_run_folder(Path(run)) / "evaluation" / f"sweep-{split}")
    return sweep_folder(output)


def job_folder(overrides: str) -> str:
    """A folder's name that says what the job is: ``model.dropout=0.1+optimizer.lr=0.001``.

    Letters, digits and the signs that need no quotes in a shell stay. What is lost by that is told apart by a hash.
    """
    plain = overrides.replace("'", "").replace('"', "")
    name = re.sub(r"[^\w.=+@-]+", "-", plain).rstrip("-").lstrip("-.")
    while len(name.encode()) > _LONGEST_NAME:
        name = name[:-1]
    if name != plain:
        name = f"{name or 'job'}-{hashlib.sha256(overrides.encode()).hexdigest()[:6]}"
    return name or "job"
