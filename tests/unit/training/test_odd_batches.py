"""The smallest batches there are: one example, one token, no token at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from summarizer.data.batch import Batch
from summarizer.model.config import PointerConfig
from summarizer.model.transformer import Transformer
from summarizer.training.step import Updater

ModelMaker = Callable[..., Transformer]
BatchMaker = Callable[..., Batch]
UpdaterMaker = Callable[..., Updater]

MODELS = [{}, {"pointer": PointerConfig(enabled=True)}]


@pytest.fixture(params=MODELS, ids=["vocabulary", "pointer"])
def model(request: pytest.FixtureRequest, make_model: ModelMaker) -> Transformer:
    return make_model(**request.param)


def weights(model: Transformer) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def gradient(model: Transformer) -> Tensor:
    return torch.cat([torch.zeros_like(each).flatten() if each.grad is None else each.grad.flatten()
                      for each in model.parameters()])  # fmt: skip


def without_targets(batch: Batch, *rows: int) -> Batch:
    """The targets of these rows are padding alone."""
    target, lengths = batch.target_BT.clone(), batch.target_lengths_B.clone()
    target[list(rows)], lengths[list(rows)] = 0, 0
    return replace(batch, target_BT=target, target_lengths_B=lengths)


@pytest.mark.parametrize("lengths", [[(1, 1)], [(1, 4)], [(6, 1)], [(3, 2)], [(1, 1), (1, 1)]], ids=str)
def test_one_example_and_one_token_are_enough_for_an_update(
    lengths: list[tuple[int, int]], model: Transformer, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    """A target of one token is that of an empty summary: the end alone."""
    before = weights(model)
    report = make_updater(model)(1, [make_batch(lengths)])
    assert not report.skipped
    assert report.target_tokens == sum(target for _, target in lengths)
    assert weights(model).isfinite().all()
    assert not torch.equal(weights(model), before)


def test_a_target_of_padding_alone_changes_nothing_of_the_others(
    model: Transformer, make_batch: BatchMaker, make_updater: UpdaterMaker, make_model: ModelMaker
) -> None:
    batch = make_batch([(5, 4), (5, 4), (5, 4)])
    other = make_model(pointer=model.config.pointer)
    two = make_updater(other)(1, [batch.split(3)[0], batch.split(3)[2]])
    report = make_updater(model)(1, [without_targets(batch, 1)])
    for name in ("loss", "nll", "gradient_norm", "accuracy"):
        assert getattr(report, name) == pytest.approx(getattr(two, name), rel=1e-5), name
    torch.testing.assert_close(gradient(model), gradient(other), rtol=1e-5, atol=1e-6)


def test_a_batch_of_padding_alone_among_others_adds_nothing(
    model: Transformer, make_batch: BatchMaker, make_updater: UpdaterMaker, make_model: ModelMaker
) -> None:
    batch = make_batch([(5, 4), (3, 2)])
    other = make_model(pointer=model.config.pointer)
    alone = make_updater(other)(1, [batch])
    report = make_updater(model)(1, [without_targets(batch, 0, 1), batch])
    assert (report.loss, report.target_tokens) == (pytest.approx(alone.loss), alone.target_tokens)
    torch.testing.assert_close(gradient(model), gradient(other), rtol=1e-5, atol=1e-6)


def test_an_update_of_padding_alone_is_skipped(
    model: Transformer, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    before = weights(model)
    report = make_updater(model)(1, [without_targets(make_batch([(5, 4), (3, 2)]), 0, 1)])
    assert report.skipped
    assert torch.equal(weights(model), before)
