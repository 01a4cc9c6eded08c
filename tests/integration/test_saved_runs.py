"""A run that an earlier release saved loads for ever, and gives the numbers it always gave.

``tests/fixtures/runs/<release>`` is a run folder as that release wrote it, with ``expected.json`` beside its files. No
release changes or removes the fixture of another. To add the one of the present release, and commit it:

    python tests/integration/test_saved_runs.py
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from summarizer import Summarizer
from summarizer.checkpoint import list_checkpoints, load_checkpoint, load_latest, read_best
from summarizer.commands.train import train
from summarizer.config import DecodingOverrides, TrainConfig
from summarizer.data.batch import Batch, collate
from summarizer.data.config import DataConfig
from summarizer.data.example import EncodedExample
from summarizer.data.sampler import BatchingConfig
from summarizer.decoding.config import DecodingConfig
from summarizer.evaluation.validation import ValidationConfig
from summarizer.model.config import (
    AttentionConfig,
    AttentionSites,
    PointerConfig,
    PositionKind,
    ScoreKind,
    TransformerConfig,
)
from summarizer.model.transformer import Transformer
from summarizer.runtime import DeviceKind, Precision, Runtime, RuntimeConfig
from summarizer.tokenizer import END_ID, PAD_ID, START_ID, TokenizerConfig
from summarizer.training.config import TrainingConfig
from summarizer.training.loss import batch_loss
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.schedule import ScheduleConfig
from summarizer.training.state import TrainerState
from summarizer.training.step import Updater
from summarizer.training.trainer import resume

RUNS = Path(__file__).parents[1] / "fixtures" / "runs"
TOLERANCE = 1e-3  # relative: other versions of PyTorch and other processors round differently
CPU = RuntimeConfig(device=DeviceKind.cpu, precision=Precision.fp32, num_threads=1)
DOCUMENT = "The town of Dale opened a park.\nIt rained."

releases = pytest.mark.parametrize("release", sorted(path.name for path in RUNS.iterdir()))


@pytest.fixture
def run_dir(release: str, tmp_path: Path) -> Path:
    """A copy, for loading must not need to write, and tests shall not be able to."""
    return Path(shutil.copytree(RUNS / release, tmp_path / "run"))


def expected_of(run_dir: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run_dir / "expected.json").read_text(encoding="utf-8"))
    return content


def test_there_is_a_fixture_and_it_is_small() -> None:
    sizes = {run.name: sum(path.stat().st_size for path in run.rglob("*")) for run in RUNS.iterdir()}
    assert sizes
    assert max(sizes.values()) < 100_000


@releases
def test_its_checkpoints_are_whole_and_the_best_one_is_known(run_dir: Path) -> None:
    checkpoints = list_checkpoints(run_dir)
    assert [load_checkpoint(path).step for path in checkpoints] == expected_of(run_dir)["steps"]
    best = read_best(run_dir)
    assert best is not None
    assert best.step in expected_of(run_dir)["steps"]


@releases
def test_it_summarizes_as_it_always_did(run_dir: Path) -> None:
    before = sorted(path.name for path in run_dir.rglob("*"))
    actual, expected = inference_numbers(run_dir), expected_of(run_dir)
    assert actual["loss"] == pytest.approx(expected["loss"], rel=TOLERANCE)
    assert actual["ids"] == expected["ids"]
    assert actual["summary"] == expected["summary"]
    assert sorted(path.name for path in run_dir.rglob("*")) == before


@releases
def test_its_training_goes_on_as_it_would_have(run_dir: Path) -> None:
    actual, expected = training_numbers(run_dir), expected_of(run_dir)
    assert actual["next_losses"] == pytest.approx(expected["next_losses"], rel=TOLERANCE)
    assert actual["best_value"] == expected["best_value"]


def inference_numbers(run_dir: Path) -> dict[str, Any]:
    """The ids of a text, its summary, and the loss of a fixed batch."""
    loaded = Summarizer.from_run(run_dir, decoding=DecodingOverrides(beam_size=1), runtime=CPU)
    with torch.inference_mode():
        sums = batch_loss(loaded.model.eval(), fixed_batch())
    return {
        "loss": float(sums.nll) / fixed_batch().num_target_tokens,
        "ids": loaded.generator._tokenizer.encode(DOCUMENT),
        "summary": loaded.summarize([DOCUMENT])[0],
    }


def training_numbers(run_dir: Path) -> dict[str, Any]:
    """The losses of two more updates: the second depends on the optimizer's state."""
    config = Summarizer.from_run(run_dir, checkpoint="last", runtime=CPU).config
    checkpoint = load_latest(run_dir)
    assert checkpoint is not None
    model = Transformer(config.model, checkpoint.model["source_embedding.weight"].shape[0])
    updater = Updater(
        model,
        build_optimizer(model, config.optimizer),
        runtime=Runtime(torch.device("cpu"), Precision.fp32),
        learning_rate=lambda step: 1e-2,
        label_smoothing=0.0,
        clip_norm=1.0,
        seed=1,
    )
    saved = TrainerState.from_plain(checkpoint.trainer_state["state"])
    origin = {"data": saved.data, "validation_data": saved.validation_data, "tokenizer": saved.tokenizer}
    state = resume(run_dir, updater, **origin)
    reports = [updater(state.step + number, [fixed_batch()]) for number in (1, 2)]
    return {"next_losses": [report.nll for report in reports], "best_value": state.best_value}


def fixed_batch() -> Batch:
    """Arithmetic instead of random numbers, whose streams may change."""

    def ids(row: int, length: int) -> Any:
        tokens = [END_ID + 1 + (7 * row + i * i) % 250 for i in range(length)]
        return torch.tensor([*tokens, END_ID], dtype=torch.int32).numpy()

    examples = [EncodedExample(str(row), ids(row, 9 + row), ids(row + 5, 4 + row)) for row in range(3)]
    return collate(examples, pad_id=PAD_ID, start_id=START_ID)


def train_fixture() -> None:
    """A model of few numbers that knows some texts by heart, with as many kinds of parameters as it can have."""
    texts = Path("texts")
    texts.mkdir()
    names = ["Dale", "Bree", "Erebor", "Lake-town"]
    rows = [
        {"document": f"The town of {name} opened a park.\nIt rained.", "summary": f"{name}: park."} for name in names
    ]
    for split in ("train", "validation"):
        (texts / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    train(
        TrainConfig(
            run_dir="run",
            model=TransformerConfig(
                width=8,
                num_heads=2,
                encoder_layers=1,
                decoder_layers=1,
                feed_forward_dim=16,
                dropout=0.0,
                positions=PositionKind.learned,
                max_positions=48,
                attention=AttentionSites(cross=AttentionConfig(score=ScoreKind.additive)),
                pointer=PointerConfig(enabled=True),
            ),
            data=DataConfig(
                path="texts",
                cache_dir="cache",
                max_source_tokens=40,
                max_target_tokens=24,
                batching=BatchingConfig(max_tokens=1000),
            ),
            tokenizer=TokenizerConfig(vocab_size=290),
            optimizer=OptimizerConfig(lr=2e-2),
            schedule=ScheduleConfig(warmup_steps=20),
            training=TrainingConfig(max_steps=300, validate_every=300, save_every=300, keep_last=1),
            validation=ValidationConfig(rouge_examples=0),
            decoding=DecodingConfig(max_tokens=24),
            runtime=CPU,
        )
    )


def make_fixture(folder: Path) -> None:
    """Write the fixture of this release."""
    folder.mkdir(parents=True)
    for name in ("config.yaml", "tokenizer.model", "best.json", "checkpoints"):
        source = Path("run") / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    expected = {
        "steps": [load_checkpoint(path).step for path in list_checkpoints(folder)],
        **inference_numbers(folder),
        **training_numbers(folder),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    new = RUNS / version("summarizer")
    assert not new.exists(), f"{new} is there already, and must stay as it is"
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        train_fixture()
        make_fixture(new)
