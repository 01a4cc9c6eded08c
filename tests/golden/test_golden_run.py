"""The first updates of a fixed run give the numbers they always gave.

A change that should not alter the mathematics must leave this test alone. One that should (another
initialization, loss, optimizer...) rewrites the numbers, and says in its commit why they moved:

    python tests/golden/test_golden_run.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from summarizer.data.batch import Batch, collate
from summarizer.data.example import EncodedExample
from summarizer.model.config import TransformerConfig
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime, seed_step
from summarizer.tokenizer import END_ID, PAD_ID, START_ID
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.schedule import ScheduleConfig, learning_rate_factor
from summarizer.training.step import Updater

GOLDEN_FILE = Path(__file__).with_name("golden_run.json")
TOLERANCE = 1e-3  # relative: other versions of PyTorch and other processors round differently
UPDATES = 5
VOCAB_SIZE = 50


def test_the_first_updates_give_the_numbers_they_always_gave() -> None:
    expected = json.loads(GOLDEN_FILE.read_text(encoding="utf-8"))
    actual = golden_run()
    for name, values in expected.items():
        assert actual[name] == pytest.approx(values, rel=TOLERANCE), (
            f"{name} of the first updates changed. If that was not the purpose, something broke. If it was, run "
            "`python tests/golden/test_golden_run.py`, and say in the commit why the numbers moved."
        )


def golden_run() -> dict[str, list[float]]:
    """Losses and gradient norms of updates that need no data, no tokenizer and no dropout."""
    seed_step(1, 0)
    sizes = TransformerConfig(width=32, num_heads=4, encoder_layers=2, decoder_layers=2, dropout=0.0)
    model = Transformer(sizes, VOCAB_SIZE)
    schedule = ScheduleConfig(warmup_steps=3)
    update = Updater(
        model,
        build_optimizer(model, OptimizerConfig(lr=3e-3)),
        runtime=Runtime(torch.device("cpu"), Precision.fp32),
        learning_rate=lambda step: 3e-3 * learning_rate_factor(step, schedule, max_steps=UPDATES),
        label_smoothing=0.1,
        clip_norm=1.0,
        seed=1,
    )
    reports = [update(step, [golden_batch(2 * step), golden_batch(2 * step + 1)]) for step in range(1, UPDATES + 1)]
    return {
        "loss": [report.loss for report in reports],
        "nll": [report.nll for report in reports],
        "gradient_norm": [report.gradient_norm for report in reports],
    }


def golden_batch(number: int) -> Batch:
    """Arithmetic instead of random numbers, whose streams may change."""

    def tokens(row: int, length: int) -> list[int]:
        return [END_ID + 1 + (number * 5 + row * 7 + i * i) % (VOCAB_SIZE - END_ID - 1) for i in range(length)]

    def ids(row: int, length: int) -> torch.Tensor:
        return torch.tensor([*tokens(row, length), END_ID], dtype=torch.int32)

    examples = [
        EncodedExample(str(row), ids(row, 12 + 3 * row - number).numpy(), ids(row + 9, 4 + row).numpy())
        for row in range(4)
    ]
    return collate(examples, pad_id=PAD_ID, start_id=START_ID)


if __name__ == "__main__":
    torch.set_num_threads(1)
    rounded = {name: [float(f"{value:.6g}") for value in values] for name, values in golden_run().items()}
    GOLDEN_FILE.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
