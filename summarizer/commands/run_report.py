"""A run folder in, a report of its parts out: each is examined on its own, for the folder may be damaged.

Nothing is raised once the folder can be listed, and nothing is changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from summarizer.checkpoint import (
    Best,
    CheckpointError,
    Examination,
    examine_checkpoints,
    list_leftovers,
    lock_holder,
    other_settings,
    read_best,
    refuse_ways_out,
    which_run,
)
from summarizer.checkpoint.format import TRAINER_STATE_FILE
from summarizer.commands.run_history import Evaluation, History, numbers, read_evaluations, read_history
from summarizer.config import TrainConfig, decisive_settings, from_yaml
from summarizer.errors import UserError
from summarizer.inference import CONFIG_FILE, TOKENIZER_FILE
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import Tokenizer
from summarizer.training.state import TrainerState

# What a training writes: a folder with none of these is no run folder, one with some may be a damaged one.
_PARTS = {CONFIG_FILE, TOKENIZER_FILE, ".lock", "train.log", "metrics.jsonl", "best.json", "checkpoints"}

_MENDED = "the training command again mends it"


@dataclass
class RunReport:
    """What is in a run folder, and in ``faults`` what is wrong with it, each naming its file."""

    run_dir: Path
    lock_holder: str | None = None
    config: TrainConfig | None = None
    config_fault: str | None = None  # of a file that is there
    tokenizer: Tokenizer | None = None
    tokenizer_fault: str | None = None  # of a file that is there
    model: Transformer | None = None  # on the meta device: names and shapes without memory
    checkpoints: list[Examination] = field(default_factory=list)
    best: Best | None = None
    state: TrainerState | None = None  # of the newest valid checkpoint
    state_fault: str | None = None
    history: History = field(default_factory=History)
    evaluations: list[Evaluation] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def newest_valid(self) -> Examination | None:
        return next((each for each in reversed(self.checkpoints) if each.is_valid), None)

    @property
    def saved_step(self) -> int:
        """The last update that a checkpoint keeps; 0 without one."""
        if self.state is not None:
            return self.state.step
        return self.newest_valid.step if self.newest_valid is not None else 0

    @property
    def step(self) -> int:
        """Where the run is now: a running one is ahead of its last checkpoint, a stopped one falls back to it."""
        return max(self.saved_step, self.history.last_step) if self.lock_holder else self.saved_step

    @property
    def seconds_left(self) -> float | None:
        """Training and validations to come at their recent speed; None if nothing is left, or nobody knows."""
        if self.config is None or self.history.seconds_per_step is None:
            return None
        training = self.config.training
        steps = training.max_steps - self.step
        if steps <= 0 or (self.state is not None and self.state.stopped_early):
            return None
        validations = -(-training.max_steps // training.validate_every) - self.step // training.validate_every
        return steps * self.history.seconds_per_step + validations * self.history.seconds_per_validation

    @property
    def served(self) -> Examination | None:
        """What evaluating and summarizing take by default: the best, or the newest whose weights load."""
        candidates = [each for each in reversed(self.checkpoints) if each.weight_shapes is not None]
        best = [each for each in candidates if self.best is not None and each.step == self.best.step]
        return next(iter(best + candidates), None)

    @property
    def misfit(self) -> str | None:
        """Why the newest valid checkpoint is not of this model; None if it is, or if that cannot be told."""
        if self.model is None or self.newest_valid is None:
            return None
        wanted = {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}
        given = self.newest_valid.weight_shapes or {}
        for name in sorted({*wanted, *given}):
            if wanted.get(name) != given.get(name):
                return f"{name} is {given.get(name)} and should be {wanted.get(name)}"
        return None


def report_on(run_dir: Path) -> RunReport:
    """Raises UserError if ``run_dir`` is no folder, cannot be listed, or holds nothing that a training writes."""
    _require_parts(run_dir)
    report = RunReport(run_dir, lock_holder=lock_holder(run_dir))
    _read_config(report)
    _read_tokenizer(report)
    _build_model(report)
    report.leftovers = list_leftovers(run_dir)
    _read_checkpoints(report)
    _read_best(report)
    _read_history(report)
    for evaluation in read_evaluations(run_dir / "evaluation"):
        report.evaluations.append(evaluation)
        if evaluation.fault:
            report.faults.append(f"evaluation/{evaluation.name}/{evaluation.fault}")
    return report


def _require_parts(run_dir: Path) -> None:
    try:
        names = {path.name for path in run_dir.iterdir()}
    except NotADirectoryError:
        raise UserError(f"run ({run_dir}) is a file and must be the run_dir of a training run") from None
    except OSError as error:
        raise UserError(
            f"run ({run_dir}) cannot be read ({error.strerror}); give the run_dir of a training run, such as "
            "outputs/<name>"
        ) from None
    if not names & _PARTS:
        raise UserError(
            f"run ({run_dir}) is not a run folder, for it holds nothing that a training writes; {which_run(run_dir)}"
        )
    refuse_ways_out(run_dir)


def _read_config(report: RunReport) -> None:
    path = report.run_dir / CONFIG_FILE
    if not path.exists():
        report.faults.append(f"{CONFIG_FILE}: missing")
        return
    try:
        report.config = from_yaml(path)
    except UserError as error:
        reason = str(error).removeprefix(f"{path} cannot be read as the config of a run: ")
        report.config_fault = f"not the config of a run: {reason}"
        report.faults.append(f"{CONFIG_FILE}: {report.config_fault}")


def _read_tokenizer(report: RunReport) -> None:
    path = report.run_dir / TOKENIZER_FILE
    if not path.exists():
        report.faults.append(f"{TOKENIZER_FILE}: missing")
        return
    try:
        report.tokenizer = Tokenizer.load(path)
    except UserError as error:
        report.tokenizer_fault = str(error).removeprefix(f"tokenizer file {path}: ")
        report.faults.append(f"{TOKENIZER_FILE}: {report.tokenizer_fault}")


def _build_model(report: RunReport) -> None:
    if report.config is None or report.tokenizer is None:
        return
    try:
        with torch.device("meta"):
            report.model = Transformer(report.config.model, report.tokenizer.vocab_size)
    except RuntimeError:  # sizes whose product is no number of bytes
        report.config_fault = "no model can have the sizes it gives"
        report.faults.append(f"{CONFIG_FILE}: {report.config_fault}")


def _read_checkpoints(report: RunReport) -> None:
    report.checkpoints = [_with_foreign_fault(report, each) for each in examine_checkpoints(report.run_dir)]
    for each in report.checkpoints:
        report.faults += [f"checkpoints/{each.path.name}/{fault}" for fault in each.faults]
    newest = report.newest_valid
    if newest is None:
        return
    try:
        report.state = _state_of(newest)
    except UserError as error:
        report.state_fault = str(error)
        report.faults.append(f"checkpoints/{newest.path.name}/trainer.json: {str(error).partition(';')[0]}")
    if report.misfit is not None:
        report.faults.append(f"checkpoints/{newest.path.name}: of another model than {CONFIG_FILE}: {report.misfit}")


def _with_foreign_fault(report: RunReport, found: Examination) -> Examination:
    """Of another run: whole, and nobody uses it."""
    if report.config is None or found.trainer_state is None:
        return found
    changed = other_settings(decisive_settings(report.config), found.trainer_state)
    fault = f"{TRAINER_STATE_FILE}: of another run ({'; '.join(changed)})"
    return replace(found, faults=[*found.faults, fault], weight_shapes=None) if changed else found


def _state_of(examination: Examination) -> TrainerState:
    plain = (examination.trainer_state or {}).get("state")
    state = TrainerState.from_plain(plain if isinstance(plain, dict) else {})
    steps = (state.step, state.validated_step, state.best_step or 0)
    if not all(isinstance(step, int) for step in steps):
        raise UserError("the trainer state holds no step")
    state.best_metrics = numbers(state.best_metrics)
    return state


def _read_best(report: RunReport) -> None:
    try:
        report.best = read_best(report.run_dir)
    except CheckpointError:
        report.faults.append(f"best.json: not what a training writes; {_MENDED}")
        return
    if report.lock_holder is not None:
        return  # between two files that are about to change together
    expected = report.state.best_step if report.state is not None else None
    named = report.best.step if report.best is not None else None
    if named is None and expected is not None:
        report.faults.append(f"best.json: missing, while the best so far is step {expected:,}; {_MENDED}")
    elif named is not None and expected is not None and named < expected:
        report.faults.append(f"best.json: names step {named:,}, while the best is step {expected:,}; {_MENDED}")
    elif named is not None and all(each.step != named for each in report.checkpoints):
        report.faults.append(f"best.json: names step {named:,}, whose checkpoint is missing")


def _read_history(report: RunReport) -> None:
    path = report.run_dir / "metrics.jsonl"
    report.history = read_history(path)
    lines = report.history.damaged_lines
    if lines:
        more = f" and {len(lines) - 1:,} more" if len(lines) > 1 else ""
        report.faults.append(f"metrics.jsonl: line {lines[0]:,}{more} cannot be read")
    if report.checkpoints and not path.exists():
        report.faults.append("metrics.jsonl: missing")
