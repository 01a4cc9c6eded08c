"""Attempts at one tiny training run, each in a process of its own, and what must be the same after all of them."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from child import Order, attempt

from summarizer.checkpoint import Checkpoint, load_latest
from summarizer.config import TrainConfig
from summarizer.data.config import DataConfig, DataLimit
from summarizer.data.sampler import BatchingConfig
from summarizer.decoding.config import DecodingConfig
from summarizer.evaluation.validation import ValidationConfig
from summarizer.model.config import TransformerConfig
from summarizer.runtime import DeviceKind, Precision, RuntimeConfig
from summarizer.tokenizer import TokenizerConfig
from summarizer.training.config import TrainingConfig
from summarizer.training.optimizer import OptimizerConfig
from summarizer.training.schedule import ScheduleConfig, ScheduleKind

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
TRAINING_EXAMPLES = 40
LAST_STEP = 10  # where patience ends the run
TIMES = {  # what may differ between two equal runs
    "tokens_per_second", "data_wait_share", "tflops_per_second", "mfu", "peak_memory_gib",
}  # fmt: skip
PATIENCE_S = 120.0  # an attempt takes seconds: one that takes this long hangs
UNFINISHED = (".tmp-*", ".replaced-*", ".writing-*", "*.new")
KILLED = -signal.SIGKILL

# Imported once, by the server that the attempts are forked from: they need seconds, an attempt without them one.
IMPORTS = ["summarizer.commands.train", "torch._dynamo", "torch.utils.tensorboard", "PIL.PngImagePlugin", "pytest"]


@dataclass
class Run:
    """A training run, and the attempts at it."""

    config: TrainConfig
    notes: Path
    outcomes: list[int] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        assert self.config.run_dir is not None
        return Path(self.config.run_dir)

    @property
    def cache(self) -> Path:
        return Path(self.config.data.cache_dir)

    @property
    def output(self) -> str:
        """What the last attempt wrote to standard output and standard error."""
        return (self.notes / "output.txt").read_text(encoding="utf-8")

    @property
    def errors(self) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith("error: ")]

    def start(self, **order: Any) -> ForkServerProcess:
        process = multiprocessing.get_context("forkserver").Process(
            target=attempt, args=(Order(self.config, self.notes, **order),)
        )
        process.start()
        return process

    def attempt(self, **order: Any) -> int:
        """The exit status of one more attempt; minus the number of the signal that ended it."""
        (status,) = statuses([self.start(**order)])
        self.outcomes.append(status)
        return status

    def points(self) -> list[tuple[str, str]]:
        """(place, name) of the points that attempts have noted."""
        lines = (self.notes / "points.txt").read_text(encoding="utf-8").splitlines()
        return [(place, name) for place, _, name in (line.partition(" ") for line in lines)]

    def checkpoint(self) -> Checkpoint:
        checkpoint = load_latest(self.folder)
        assert checkpoint is not None
        return checkpoint

    def examples(self) -> dict[int, list[list[str]]]:
        """The examples that made each update, batch by batch: those of updates that were lost are struck out."""
        updates: dict[int, list[list[str]]] = {}
        for line in (self.notes / "seen.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "after" in record:
                updates = {step: batches for step, batches in updates.items() if step <= record["after"]}
            elif "update" in record:
                step, batches = record["update"]
                assert step not in updates
                updates[step] = batches
        return updates

    def curves(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, times excluded."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        records: list[dict[str, Any]] = [json.loads(line) for line in lines]
        for record in records:
            del record["time"]
            for name in TIMES & record.get("train", {}).keys():
                del record["train"][name]
        return records

    def unfinished(self) -> list[Path]:
        """What no finished run should leave behind."""
        return sorted(
            path for folder in (self.folder, self.cache) for name in UNFINISHED for path in folder.rglob(name)
        )

    def differences(self, other: Run) -> list[str]:
        """All in which this run is not the other, which should be nothing."""
        mine, its = self.checkpoint(), other.checkpoint()
        found = [f"weight {name}" for name in _differing(mine.model, its.model)]
        found += [f"moment {name}" for name in _differing(mine.trainer_tensors, its.trainer_tensors)]
        pairs = {
            "trainer state": (mine.trainer_state, its.trainer_state),
            "best.json": tuple((run.folder / "best.json").read_text(encoding="utf-8") for run in (self, other)),
            "curves": (self.curves(), other.curves()),
            "examples": (self.examples(), other.examples()),
        }
        found += [f"{name}: {got} instead of {wanted}" for name, (got, wanted) in pairs.items() if got != wanted]
        return found + [f"unfinished: {path}" for path in self.unfinished()]


MakeRun = Callable[..., Run]


def statuses(processes: Sequence[ForkServerProcess]) -> list[int]:
    """Their exit statuses, once all have ended. Those that wait for what never comes are killed, and fail the test."""
    deadline = time.monotonic() + PATIENCE_S
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    found = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    assert None not in found, f"after {PATIENCE_S:.0f} s their exit statuses are {found}"
    return [status for status in found if status is not None]


def _differing(mine: dict[str, torch.Tensor], its: dict[str, torch.Tensor]) -> list[str]:
    common = mine.keys() & its.keys()
    return sorted([*(mine.keys() ^ its.keys()), *(name for name in common if not torch.equal(mine[name], its[name]))])


def tiny_config(run_dir: Path, cache_dir: Path, *, num_workers: int = 0, **training: Any) -> TrainConfig:
    """Dropout, two batches an update, epochs that end within the run, ROUGE of two examples, a patience that ends."""
    return TrainConfig(
        run_dir=str(run_dir),
        seed=34,
        model=TransformerConfig(
            width=16, num_heads=2, encoder_layers=1, decoder_layers=1, feed_forward_dim=16, dropout=0.2
        ),
        data=DataConfig(
            path=str(SAMPLE),
            limit=DataLimit(train=TRAINING_EXAMPLES, validation=4, test=2),
            max_source_tokens=24,
            max_target_tokens=16,
            cache_dir=str(cache_dir),
            batching=BatchingConfig(max_tokens=200),
        ),
        tokenizer=TokenizerConfig(vocab_size=350),
        optimizer=OptimizerConfig(lr=0.1),
        schedule=ScheduleConfig(kind=ScheduleKind.constant, warmup_steps=1),
        training=TrainingConfig(
            **{"max_steps": 20, "accumulate": 2, "patience": 2, "best_metric": "accuracy"}
            | {"log_every": 1, "validate_every": 2, "save_every": 3}
            | training
        ),
        decoding=DecodingConfig(beam_size=2, max_tokens=4),
        validation=ValidationConfig(rouge_examples=2, samples=1),
        runtime=RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1, num_workers=num_workers),
    )
