"""A plan for this machine is held against updates that are really done here."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from summarizer.model.config import TransformerConfig
from summarizer.planning.devices import find_device
from summarizer.planning.measured import Comparison, compare, compare_shape
from summarizer.planning.memory import BatchShape
from summarizer.planning.plan import Training
from summarizer.runtime import Precision, Runtime

SIZE = TransformerConfig(width=192, num_heads=4, encoder_layers=3, decoder_layers=3)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="for a machine without a GPU")
@pytest.mark.parametrize("precision", [Precision.fp32, Precision.bf16], ids=lambda precision: precision.value)
def test_updates_take_about_what_was_foretold(
    make_training: Callable[..., Training], precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a factor of two, for a busy machine is no exact witness even in processor time."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    device = find_device("this", gpus=1)
    if precision not in device.peaks:
        pytest.skip("the processor multiplies no bf16")
    training = make_training(model=SIZE, vocab_size=4000, device=device, precision=precision)
    runtime = Runtime(torch.device("cpu"), precision)
    comparison = compare_shape(training, BatchShape(8, 160, 48), runtime, updates=3, seed=1)
    print(comparison.table())
    assert 0.5 < comparison.foretold_seconds / comparison.seconds < 2
    assert comparison.foretold_bytes == pytest.approx(comparison.peak_bytes, rel=0.1)


def test_the_batch_that_is_done_is_the_middle_one_of_the_plan(make_training: Callable[..., Training]) -> None:
    training = replace(make_training(), accumulate=4)
    runtime = Runtime(torch.device("cpu"), Precision.fp32)
    shape = compare(training, runtime, updates=1, seed=1).shape
    assert shape == BatchShape(48, 24, 8)


def test_errors_are_told_with_their_sign() -> None:
    table = Comparison(BatchShape(4, 24, 8), 0.08, 0.1, 3 * 2**20, 2 * 2**20).table()
    assert re.search(r"\| ms of an update +\| +80 \| +100 \| +-20% \|", table)
    assert re.search(r"\| MiB at the fullest +\| +3 \| +2 \| +\+50% \|", table)
