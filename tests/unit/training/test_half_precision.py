"""fp16: a gradient too large for its numbers costs an update and halves the scale; the run goes on.

Training offers it on GPUs alone. What happens around an overflow is the same on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from summarizer.data.batch import Batch
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime
from summarizer.training.step import Updater

TOO_LARGE = 2.0**40  # a factor with which any gradient leaves the range of fp16
ModelMaker = Callable[..., Transformer]
BatchMaker = Callable[..., Batch]
UpdaterMaker = Callable[..., Updater]

FP16 = Runtime(torch.device("cpu"), Precision.fp16)


@pytest.fixture
def make_fp16(make_model: ModelMaker, make_updater: UpdaterMaker) -> Callable[..., Updater]:
    return lambda **changes: make_updater(make_model(), **{"runtime": FP16, **changes})


@pytest.fixture
def batch(make_batch: BatchMaker) -> Batch:
    return make_batch([(5, 4), (3, 6)])


def weights_of(updater: Updater) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in updater.model.parameters()]


def set_scale(updater: Updater, scale: float) -> None:
    updater.scaler.load_state_dict({**updater.scaler.state_dict(), "scale": scale})


def test_an_overflow_is_skipped_and_named_and_halves_the_scale(make_fp16: Callable[..., Updater], batch: Batch) -> None:
    updater = make_fp16()
    updater(1, [batch])
    before, moments = weights_of(updater), [state["step"].item() for state in updater.optimizer.state.values()]
    set_scale(updater, TOO_LARGE)
    report = updater(2, [batch])
    assert report.skipped
    assert report.skipped_ids == batch.ids
    assert all(map(torch.equal, before, weights_of(updater)))
    assert [state["step"].item() for state in updater.optimizer.state.values()] == moments, "nor has AdamW seen it"
    assert updater.scaler.get_scale() == TOO_LARGE / 2


def test_after_enough_halvings_training_goes_on_as_if_the_scale_had_been_right(
    make_fp16: Callable[..., Updater], batch: Batch
) -> None:
    undisturbed, updater = make_fp16(), make_fp16()
    set_scale(updater, TOO_LARGE)
    step, skipped = 1, 0
    while updater(step, [batch]).skipped:
        skipped += 1
        step += 1
        assert skipped < 40
    assert skipped > 10
    undisturbed(step, [batch])
    for got, wanted in zip(weights_of(updater), weights_of(undisturbed), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-2, atol=1e-3)


def test_the_reported_gradient_is_that_of_fp32_whatever_the_scale(
    make_fp16: Callable[..., Updater], batch: Batch
) -> None:
    exact = make_fp16(runtime=Runtime(torch.device("cpu"), Precision.fp32))(1, [batch])
    report = make_fp16()(1, [batch])
    assert report.gradient_norm == pytest.approx(exact.gradient_norm, rel=0.02)
    assert report.loss == pytest.approx(exact.loss, rel=0.01)
