"""An update does what the paper's formula says, however its batches are cut, and no bad number gets in."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from updates import assert_same_bits, descender, everything, weights

from summarizer.data.batch import Batch
from summarizer.model.config import PointerConfig
from summarizer.model.flops import Amounts, update_flops
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime
from summarizer.training.cross_entropy import LossSums
from summarizer.training.loss import batch_loss
from summarizer.training.step import Updater

ModelMaker = Callable[..., Transformer]
BatchMaker = Callable[..., Batch]
UpdaterMaker = Callable[..., Updater]

LENGTHS = [(9, 8), (6, 7), (3, 1), (2, 2)]


@pytest.mark.parametrize(
    ("changes", "options"),
    [({}, {}), ({"pointer": PointerConfig(enabled=True)}, {"coverage_weight": lambda step: 0.5})],
    ids=["plain", "pointer"],
)
def test_two_unequal_halves_make_the_update_of_the_whole_batch(
    make_model: ModelMaker,
    make_batch: BatchMaker,
    make_updater: UpdaterMaker,
    changes: dict[str, Any],
    options: dict[str, Any],
) -> None:
    whole = make_batch(LENGTHS)
    halves = [rows_of(whole, [0, 1]), rows_of(whole, [2, 3])]
    assert halves[0].num_target_tokens != halves[1].num_target_tokens
    together, in_halves = make_model(**changes), make_model(**changes)
    expected = descender(make_updater(together, **options))(1, [whole])
    report = descender(make_updater(in_halves, **options))(1, halves)
    for name in ("loss", "nll", "gradient_norm"):
        assert getattr(report, name) == pytest.approx(getattr(expected, name), rel=1e-6), name
    assert (report.accuracy, report.target_tokens, report.real_tokens, report.flops) == (
        expected.accuracy, expected.target_tokens, expected.real_tokens, expected.flops
    )  # fmt: skip
    amounts = Amounts.of(*torch.tensor(LENGTHS).T)
    assert report.flops == update_flops(together.config, together.vocab_size, amounts)
    assert report.positions < expected.positions
    assert report.pointer == pytest.approx(expected.pointer, rel=1e-6)
    torch.testing.assert_close(weights(in_halves), weights(together), rtol=1e-6, atol=1e-7)


def test_the_report_says_what_the_update_saw(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    model, batch = make_model(), make_batch(LENGTHS, target_length=10)
    logits_NV, target_N = real_logits(model, batch)
    smoothed = F.cross_entropy(logits_NV, target_N, label_smoothing=0.2)
    gradients = torch.autograd.grad(smoothed, list(model.parameters()))
    update = make_updater(model, label_smoothing=0.2, learning_rate=lambda step: step / 1000)
    report = update(7, [batch])
    assert report.step == 7
    assert report.loss == pytest.approx(smoothed.item())
    assert report.nll == pytest.approx(F.cross_entropy(logits_NV, target_N).item())
    assert report.accuracy == pytest.approx((logits_NV.argmax(dim=-1) == target_N).float().mean().item())
    assert report.gradient_norm == pytest.approx(torch.cat([g.flatten() for g in gradients]).norm().item())
    assert report.learning_rate == 0.007
    assert report.target_tokens == 18
    assert report.real_tokens == 18 + 20
    assert report.positions == 4 * (9 + 10)
    assert not report.skipped


def test_the_weights_move_by_the_learning_rate_of_the_step(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    model = make_model()
    before = weights(model)
    update = descender(make_updater(model, learning_rate=lambda step: step / 100))
    report = update(3, [make_batch(LENGTHS)])
    assert distance(weights(model), before) == pytest.approx(0.03 * report.gradient_norm, rel=1e-4)


def test_a_long_gradient_is_shortened_and_a_short_one_left(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    moved, norms = {}, {}
    for clip_norm in (0.01, 1e6):
        model = make_model()
        before = weights(model)
        update = descender(make_updater(model, clip_norm=clip_norm, learning_rate=lambda step: 1.0))
        norms[clip_norm] = update(1, [make_batch(LENGTHS)]).gradient_norm
        moved[clip_norm] = distance(weights(model), before)
    assert norms[0.01] == norms[1e6] > 0.1, "the norm reported is the one before clipping"
    assert moved[0.01] == pytest.approx(0.01, rel=1e-3)
    assert moved[1e6] == pytest.approx(norms[1e6], rel=1e-4)


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_a_number_that_is_not_finite_touches_neither_weights_nor_optimizer(
    poison: str, make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    model, healthy = make_model(), make_model()
    update, healthy_update = make_updater(model), make_updater(healthy)
    update(1, [make_batch(LENGTHS)])
    healthy_update(1, [make_batch(LENGTHS)])
    before = everything(update)
    with_poison = poisoned_loss(model) if poison == "loss" else poisoned_gradient(model)
    report = update(2, [make_batch(LENGTHS, seed=1)])
    with_poison.remove()
    assert report.skipped
    assert math.isfinite(report.loss) == (poison == "gradient")
    assert_same_bits(everything(update), before)
    update(3, [make_batch(LENGTHS, seed=2)])
    healthy_update(3, [make_batch(LENGTHS, seed=2)])
    assert_same_bits(everything(update), everything(healthy_update))


def test_an_infinite_loss_is_skipped_even_if_its_gradient_is_finite(
    make_model: ModelMaker,
    make_batch: BatchMaker,
    make_updater: UpdaterMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def infinite(*args: Any, **kwargs: Any) -> LossSums:
        sums = batch_loss(*args, **kwargs)
        return replace(sums, loss=sums.loss + math.inf)

    model = make_model()
    before = weights(model)
    monkeypatch.setattr("summarizer.training.step.batch_loss", infinite)
    report = make_updater(model)(1, [make_batch(LENGTHS)])
    assert report.skipped
    assert math.isfinite(report.gradient_norm)
    assert_same_bits(weights(model), before)


# Where memory is short


def test_what_is_done_meanwhile_is_done_once_between_the_gradient_and_the_step(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    model = make_model()
    before = model.vocabulary.weight.detach().clone()
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        weight = model.vocabulary.weight
        seen.append((weight.grad is not None, torch.equal(weight, before)))

    make_updater(model)(1, [make_batch(LENGTHS), make_batch(LENGTHS)], meanwhile=look)
    assert seen == [(True, True)]
    assert not torch.equal(model.vocabulary.weight, before)


def test_dropout_depends_on_seed_and_step_alone(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    def loss(seed: int, step: int) -> float:
        torch.manual_seed(random.randrange(2**31))  # whatever was drawn before must not matter
        update = make_updater(make_model(dropout=0.3), seed=seed)
        return update(step, [make_batch(LENGTHS)]).loss

    assert loss(seed=1, step=1) == loss(seed=1, step=1)
    assert len({loss(seed=1, step=1), loss(seed=1, step=2), loss(seed=2, step=1)}) == 3


def test_batches_of_one_update_are_dropped_out_differently(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    batch = make_batch(LENGTHS)
    once = make_updater(make_model(dropout=0.3))(1, [batch])
    twice = make_updater(make_model(dropout=0.3))(1, [batch, batch])
    assert once.loss != twice.loss


def test_a_model_that_validation_left_in_eval_mode_trains_with_dropout(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    model = make_model(dropout=0.3)
    expected = make_updater(make_model(dropout=0.3))(1, [make_batch(LENGTHS)])
    model.eval()
    assert make_updater(model)(1, [make_batch(LENGTHS)]) == expected


def test_an_update_forgets_the_gradient_of_the_one_before(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    fresh, used = make_model(), make_model()
    for parameter in used.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)
    expected = make_updater(fresh)(1, [make_batch(LENGTHS)])
    assert make_updater(used)(1, [make_batch(LENGTHS)]) == expected


def test_bf16_keeps_weights_and_optimizer_in_fp32_and_learns_alike(
    make_model: ModelMaker, make_batch: BatchMaker, make_updater: UpdaterMaker
) -> None:
    losses = {}
    for precision in (Precision.fp32, Precision.bf16):
        update = make_updater(make_model(), runtime=Runtime(torch.device("cpu"), precision))
        losses[precision] = [update(step, [make_batch(LENGTHS)]).loss for step in range(1, 11)]
        assert {tensor.dtype for tensor in everything(update).values()} == {torch.float32}
    assert losses[Precision.bf16] == pytest.approx(losses[Precision.fp32], rel=0.02)
    assert losses[Precision.bf16][-1] < losses[Precision.bf16][0] - 0.5


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch, without the padding that only the others needed."""
    index = torch.tensor(rows)
    source_length = int(batch.source_lengths_B[index].max())
    target_length = int(batch.target_lengths_B[index].max())
    return Batch(
        tuple(batch.ids[row] for row in rows),
        batch.source_BS[index, :source_length],
        batch.source_lengths_B[index],
        batch.decoder_input_BT[index, :target_length],
        batch.target_BT[index, :target_length],
        batch.target_lengths_B[index],
    )


def real_logits(model: Transformer, batch: Batch) -> tuple[Tensor, Tensor]:
    source_mask_BS = length_mask(batch.source_lengths_B, batch.source_BS.shape[1])
    target_mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    logits_BTV = model.project(model(batch.source_BS, source_mask_BS, batch.decoder_input_BT).hidden_BTD)
    return logits_BTV[target_mask_BT], batch.target_BT[target_mask_BT]


def poisoned_loss(model: Transformer) -> Any:
    return model.register_forward_hook(
        lambda module, inputs, output: output._replace(hidden_BTD=output.hidden_BTD * math.inf)
    )


def poisoned_gradient(model: Transformer) -> Any:
    weight = model.decoder_norm.weight
    return weight.register_hook(lambda gradient: gradient * math.nan)  # type: ignore[no-untyped-call]


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float((first[name] - second[name]).square().sum()) for name in first))
