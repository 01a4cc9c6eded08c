"""A run that was stopped and continued is, bit for bit, the run that was never stopped."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from summarizer.checkpoint import Checkpoint, load_latest
from summarizer.commands.train import train
from summarizer.config import TrainConfig
from summarizer.data.config import DataConfig, DataLimit
from summarizer.data.sampler import BatchingConfig
from summarizer.errors import UserError
from summarizer.evaluation.validation import ValidationConfig
from summarizer.model.config import TransformerConfig
from summarizer.runtime import DeviceKind, Precision, RuntimeConfig
from summarizer.tokenizer import TokenizerConfig
from summarizer.training.config import TrainingConfig
from summarizer.training.interruption import Interrupted
from summarizer.training.optimizer import OptimizerConfig
from summarizer.training.schedule import ScheduleConfig, ScheduleKind
from summarizer.training.step import StepReport, Updater

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
TIMES = {  # what may differ between two equal runs
    "tokens_per_second", "data_wait_share", "tflops_per_second", "mfu", "peak_memory_gib",
}  # fmt: skip

ConfigMaker = Callable[..., TrainConfig]


def tiny_config(run_dir: Path, cache_dir: Path, *, max_steps: int, num_workers: int = 0, seed: int = 1) -> TrainConfig:
    """With dropout, two batches an update, and an epoch that ends between updates 2 and 4."""
    return TrainConfig(
        run_dir=str(run_dir),
        seed=seed,
        model=TransformerConfig(
            width=16, num_heads=2, encoder_layers=1, decoder_layers=1, feed_forward_dim=32, dropout=0.2
        ),
        data=DataConfig(
            path=str(SAMPLE),
            limit=DataLimit(train=60, validation=4),
            max_source_tokens=48,
            max_target_tokens=24,
            cache_dir=str(cache_dir),
            batching=BatchingConfig(max_tokens=1000),
        ),
        tokenizer=TokenizerConfig(vocab_size=400),
        optimizer=OptimizerConfig(lr=1e-2),
        schedule=ScheduleConfig(kind=ScheduleKind.constant, warmup_steps=3),
        training=TrainingConfig(max_steps=max_steps, accumulate=2, log_every=1, validate_every=2, save_every=2),
        validation=ValidationConfig(rouge_examples=0),
        runtime=RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1, num_workers=num_workers),
    )


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The folder of a run of four updates that nobody stopped."""
    return trained(tiny_config(tmp_path_factory.mktemp("whole"), cache_dir, max_steps=4))


@pytest.fixture
def make_config(tmp_path: Path, cache_dir: Path) -> ConfigMaker:
    """A run in a folder of the test's own; the same at each call."""
    return partial(tiny_config, tmp_path / "run", cache_dir)


def test_four_updates_are_two_and_two_more(make_config: ConfigMaker, whole: Path) -> None:
    trained(make_config(max_steps=2))
    halves = trained(make_config(max_steps=4))
    assert_same_run(halves, whole)


def test_a_pointer_and_the_start_of_its_coverage_are_on_both_sides_of_a_stop(tmp_path: Path, cache_dir: Path) -> None:
    runs = {"whole": [4], "halves": [2, 4]}
    for name, stops in runs.items():
        for max_steps in stops:
            config = tiny_config(tmp_path / name, cache_dir, max_steps=max_steps)
            config.model.pointer.enabled = True
            config.training.coverage_weight, config.training.coverage_start = 1.0, 3
            trained(config)
    assert_same_run(tmp_path / "halves", tmp_path / "whole")
    for kind in ("train", "validation"):
        assert all(
            {"p_gen", "copy_rate", "coverage"} <= values.keys() for _, values in curve(tmp_path / "halves", kind)
        )


def test_the_stop_is_in_the_middle_of_an_epoch_and_the_run_goes_on_into_the_next(
    make_config: ConfigMaker,
) -> None:
    """What makes the other tests here worth something."""
    positions = [
        load(trained(make_config(max_steps=max_steps))).trainer_state["state"]["position"] for max_steps in (2, 4)
    ]
    assert positions[0]["epoch"] == 0
    assert positions[0]["batch"] == 4
    assert positions[1]["epoch"] == 1


@pytest.mark.parametrize("stopped_at", [1, 2, 3])
def test_a_run_stopped_by_sigterm_at_any_update_goes_on_as_if_it_was_not(
    stopped_at: int, make_config: ConfigMaker, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(max_steps=4)
    with monkeypatch.context() as patch:
        patch.setattr(Updater, "__call__", raising_sigterm_at(stopped_at))
        with pytest.raises(Interrupted) as stopped:
            train(config)
    assert stopped.value.code == 143
    run_dir = Path(config.run_dir or "")
    assert load(run_dir).step == stopped_at
    assert_same_run(trained(config), whole)


def test_updates_after_the_last_checkpoint_are_done_again_and_logged_once(
    make_config: ConfigMaker, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(max_steps=4)
    with monkeypatch.context() as patch:
        patch.setattr(Updater, "__call__", crashing_at(4))
        with pytest.raises(OSError, match="power cut"):
            train(config)
    run_dir = Path(config.run_dir or "")
    assert load(run_dir).step == 2, "update 3 was done and is lost"
    assert 3 in [record["step"] for record in records(run_dir)]
    assert_same_run(trained(config), whole)


def test_workers_change_nothing_neither_in_one_go_nor_across_a_stop(make_config: ConfigMaker, whole: Path) -> None:
    trained(make_config(max_steps=2, num_workers=2))
    halves = trained(make_config(max_steps=4, num_workers=2))
    assert_same_run(halves, whole)


@pytest.mark.slow
def test_a_new_process_continues_a_run_the_same(make_config: ConfigMaker, whole: Path) -> None:
    trained(make_config(max_steps=2))
    config = make_config(max_steps=4)
    process = multiprocessing.get_context("spawn").Process(target=train, args=(config,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert_same_run(Path(config.run_dir or ""), whole)


def test_another_seed_is_another_run_and_is_not_continued(
    make_config: ConfigMaker, cache_dir: Path, whole: Path
) -> None:
    before = load(whole)
    with pytest.raises(UserError, match="seed was 1 and is 2"):
        train(tiny_config(whole, cache_dir, max_steps=6, seed=2))
    other = load(trained(make_config(max_steps=4, seed=2)))
    assert differing(other.model, before.model)
    assert load(whole).step == 4


def trained(config: TrainConfig) -> Path:
    """Train, whatever random numbers others drew before; the run folder."""
    random.seed()
    np.random.seed(None)
    torch.seed()
    train(config)
    assert config.run_dir is not None
    return Path(config.run_dir)


def raising_sigterm_at(wanted: int) -> Callable[..., StepReport]:
    def call(self: Updater, step: int, batches: Any, **options: Any) -> StepReport:
        report = original_call(self, step, batches, **options)
        if step == wanted:
            signal.raise_signal(signal.SIGTERM)
        return report

    return call


def crashing_at(wanted: int) -> Callable[..., StepReport]:
    def call(self: Updater, step: int, batches: Any, **options: Any) -> StepReport:
        if step == wanted:
            raise OSError("power cut")
        return original_call(self, step, batches, **options)

    return call


original_call = Updater.__call__


def assert_same_run(actual: Path, expected: Path) -> None:
    """Weights, optimizer, trainer state and curves; of all, only times and speeds may differ."""
    got, want = load(actual), load(expected)
    assert differing(got.model, want.model) == []
    assert differing(got.trainer_tensors, want.trainer_tensors) == []
    assert got.trainer_state == want.trainer_state
    for kind in ("train", "validation"):
        assert curve(actual, kind) == curve(expected, kind)
    assert [step for step, _ in curve(actual, "train")] == [1, 2, 3, 4]


def load(run_dir: Path) -> Checkpoint:
    checkpoint = load_latest(run_dir)
    assert checkpoint is not None
    return checkpoint


def differing(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> list[str]:
    assert actual.keys() == expected.keys()
    return [name for name in actual if not torch.equal(actual[name], expected[name])]


def records(run_dir: Path) -> list[dict[str, Any]]:
    lines = (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def curve(run_dir: Path, kind: str) -> list[tuple[int, dict[str, float]]]:
    """(step, values) of each line of a kind, in the order of the file."""
    return [
        (record["step"], {name: value for name, value in record[kind].items() if name not in TIMES})
        for record in records(run_dir)
        if kind in record
    ]
