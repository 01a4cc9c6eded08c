"""With a pointer, the loss is that of the whole mixture; coverage counts second looks, once it is asked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from summarizer.data.batch import Batch
from summarizer.model.config import PointerConfig, ScoreKind
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer
from summarizer.training import cross_entropy
from summarizer.training.loss import batch_loss, coverage_loss
from summarizer.training.step import Updater

ModelMaker = Callable[..., Transformer]
BatchMaker = Callable[..., Batch]
UpdaterMaker = Callable[..., Updater]

LENGTHS = [(5, 4), (7, 6), (3, 2), (1, 1)]
TOKENS = sum(target for _, target in LENGTHS)


@pytest.fixture
def model(make_model: ModelMaker) -> Transformer:
    """In float64, with copying as likely as not and untied weights that are all random."""
    model = make_model(pointer=PointerConfig(enabled=True, score=ScoreKind.general), tie_embeddings=False).double()
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.fixture
def batch(make_batch: BatchMaker) -> Batch:
    """Of the first document a token comes twice in the source; of the second no target is there at all; padding is
    full of a target's id."""
    batch = make_batch(LENGTHS, source_length=9, target_length=8)
    source_BS, target_BT = batch.source_BS.clone(), batch.target_BT.clone()
    source_BS[0, [1, 3]] = target_BT[0, 0]
    source_BS[1, :7] = torch.tensor([4, 5, 4, 6, 7, 4, 5])
    target_BT[1, :6] = torch.tensor([8, 9, 10, 8, 9, 3])
    source_BS = source_BS.where(length_mask(batch.source_lengths_B, 9), target_BT[0, 1])
    return replace(batch, source_BS=source_BS, target_BT=target_BT)


def by_definition(model: Transformer, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """P_NV of the real target tokens, the part of it that is copied, p_gen_N and target_N, from the whole mixture."""
    source_mask_BS = length_mask(batch.source_lengths_B, batch.source_BS.shape[1])
    target_mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    hidden_BTD, copying = model(batch.source_BS, source_mask_BS, batch.decoder_input_BT)
    assert copying is not None
    weights_BTS = copying.log_weights_BTS.exp() * source_mask_BS[:, None]
    p_gen_BT1 = copying.gate_BT.sigmoid()[..., None]
    one_hot_BSV = F.one_hot(batch.source_BS, model.vocab_size).to(weights_BTS.dtype)
    copied_BTV = (1 - p_gen_BT1) * (weights_BTS @ one_hot_BSV)
    mixed_BTV = p_gen_BT1 * model.project(hidden_BTD).softmax(dim=-1) + copied_BTV
    of_real = (mixed_BTV[target_mask_BT], copied_BTV[target_mask_BT], p_gen_BT1[target_mask_BT][:, 0])
    return (*of_real, batch.target_BT[target_mask_BT])


# Against the whole mixture


@pytest.mark.parametrize("rows_per_chunk", [1, 4, 100])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.7])
def test_loss_and_all_gradients_are_those_of_the_mixture_in_any_number_of_chunks(
    model: Transformer, batch: Batch, label_smoothing: float, rows_per_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "MAX_LOGITS", rows_per_chunk * model.vocab_size)
    mixed_NV, _, _, target_N = by_definition(model, batch)
    nll = F.nll_loss(mixed_NV.log(), target_N, reduction="sum")
    expected = (1 - label_smoothing) * nll - label_smoothing * mixed_NV.log().mean(dim=-1).sum()
    sums = batch_loss(model, batch, label_smoothing=label_smoothing)
    torch.testing.assert_close((sums.loss, sums.nll), (expected, nll))
    assert not sums.nll.requires_grad
    gradients, expected_gradients = (
        torch.autograd.grad(loss, list(model.parameters())) for loss in (sums.loss, expected)
    )
    for (name, _), gradient, expected_gradient in zip(
        model.named_parameters(), gradients, expected_gradients, strict=True
    ):
        torch.testing.assert_close(gradient, expected_gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_a_token_is_correct_if_the_mixture_likes_it_best(model: Transformer, batch: Batch) -> None:
    """Half of the targets are made the mixture's favourites; some of these only because they can be copied."""
    target_mask_BT = length_mask(batch.target_lengths_B, batch.target_BT.shape[1])
    mixed_NV, copied_NV, _, target_N = by_definition(model, batch)
    favourite_N, generated_N = mixed_NV.argmax(dim=-1), (mixed_NV - copied_NV).argmax(dim=-1)
    assert (favourite_N != generated_N)[::2].any()
    target_N[::2] = favourite_N[::2]
    changed = replace(batch, target_BT=batch.target_BT.masked_scatter(target_mask_BT, target_N))
    expected = int((favourite_N == target_N).sum())
    assert TOKENS // 2 <= expected < TOKENS
    assert batch_loss(model, changed).correct == expected


@pytest.mark.parametrize("rows_per_chunk", [4, 100])
def test_p_gen_and_copy_rate_are_what_the_mixture_makes_them(
    model: Transformer, batch: Batch, rows_per_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "MAX_LOGITS", rows_per_chunk * model.vocab_size)
    mixed_NV, copied_NV, p_gen_N, target_N = by_definition(model, batch)
    share_N = (copied_NV / mixed_NV).gather(1, target_N[:, None])
    assert (share_N == 0).any()
    assert (share_N > 0.1).any()
    pointer = batch_loss(model, batch).pointer
    torch.testing.assert_close((pointer["p_gen"], pointer["copy_rate"]), (p_gen_N.sum(), share_N.sum()))
    assert not any(tensor.requires_grad for tensor in pointer.values())


def test_a_document_without_tokens_costs_what_its_vocabulary_says(model: Transformer, batch: Batch) -> None:
    nothing = replace(batch, source_lengths_B=torch.zeros_like(batch.source_lengths_B))
    sums = batch_loss(model, nothing, label_smoothing=0.1, coverage_weight=1.0)
    pointer, model.pointer = model.pointer, None
    expected = batch_loss(model, nothing, label_smoothing=0.1)
    model.pointer = pointer
    torch.testing.assert_close((sums.loss, sums.correct), (expected.loss, expected.correct))
    assert {name: tensor.item() for name, tensor in sums.pointer.items()} == {
        "p_gen": TOKENS,
        "copy_rate": 0,
        "coverage": 0,
    }
    gradients = torch.autograd.grad(sums.loss, list(model.parameters()), materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_model_without_a_pointer_has_nothing_to_tell_of_one(make_model: ModelMaker, batch: Batch) -> None:
    assert batch_loss(make_model(), batch).pointer == {}


# Coverage


@st.composite
def attentions(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """weights_BTS, each row a distribution in which some weights may be nothing, and target_mask_BT."""
    batch, targets, sources = (draw(st.integers(1, 4), name) for name in ("batch", "targets", "sources"))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99), "seed"))
    score_BTS = draw(st.sampled_from([1, 30, 3000]), "size") * torch.randn(
        batch, targets, sources, generator=generator, dtype=torch.float64
    )
    lengths = draw(st.lists(st.integers(0, targets), min_size=batch, max_size=batch), "lengths")
    return score_BTS.softmax(dim=-1), length_mask(torch.tensor(lengths), targets)


@settings(max_examples=50)
@given(attention=attentions())
def test_coverage_is_what_goes_where_attention_has_been(attention: tuple[Tensor, Tensor]) -> None:
    weights_BTS, target_mask_BT = attention
    expected = 0.0
    for weights_TS, mask_T in zip(weights_BTS.tolist(), target_mask_BT.tolist(), strict=True):
        covered_S = [0.0] * len(weights_TS[0])
        for weights_S, is_real in zip(weights_TS, mask_T, strict=True):
            expected += is_real * sum(min(weight, before) for weight, before in zip(weights_S, covered_S, strict=True))
            covered_S = [before + weight for before, weight in zip(covered_S, weights_S, strict=True)]
    coverage = coverage_loss(weights_BTS, target_mask_BT).item()
    assert coverage == pytest.approx(expected, abs=1e-12)
    assert -1e-12 <= coverage <= max(0, int(target_mask_BT.sum()) - int(target_mask_BT.any(dim=1).sum())) + 1e-12


def test_attention_that_never_comes_back_costs_nothing_and_one_that_stays_costs_all() -> None:
    target_mask_BT = torch.ones(1, 4, dtype=torch.bool)
    assert coverage_loss(torch.eye(4, 6)[None], target_mask_BT) == 0
    assert coverage_loss(torch.eye(1, 6).expand(1, 4, 6), target_mask_BT) == 3  # all but the first


def test_coverage_gradients_are_slopes_and_padding_has_none() -> None:
    generator = torch.Generator().manual_seed(0)
    weights_BTS = torch.randn(2, 4, 3, generator=generator, dtype=torch.float64).softmax(dim=-1).requires_grad_()
    target_mask_BT = length_mask(torch.tensor([4, 2]), 4)
    assert torch.autograd.gradcheck(coverage_loss, (weights_BTS, target_mask_BT))
    (gradient_BTS,) = torch.autograd.grad(coverage_loss(weights_BTS, target_mask_BT), weights_BTS)
    assert not gradient_BTS[~target_mask_BT].any()
    assert gradient_BTS[target_mask_BT].any(dim=-1).all()


def test_the_batch_adds_its_coverage_by_weight_and_tells_it_without(model: Transformer, batch: Batch) -> None:
    source_mask_BS, target_mask_BT = length_mask(batch.source_lengths_B, 9), length_mask(batch.target_lengths_B, 8)
    copying = model(batch.source_BS, source_mask_BS, batch.decoder_input_BT).copying
    assert copying is not None
    coverage = coverage_loss(copying.copied(), target_mask_BT)
    without, with_coverage = (batch_loss(model, batch, coverage_weight=weight) for weight in (0.0, 0.7))
    torch.testing.assert_close(without.loss, without.nll)
    torch.testing.assert_close(with_coverage.loss, without.loss + 0.7 * coverage)
    torch.testing.assert_close(with_coverage.nll, without.nll)
    for sums in (without, with_coverage):
        torch.testing.assert_close(sums.pointer["coverage"], coverage)
    wanted, *parts = (
        torch.cat([gradient.flatten() for gradient in gradients])
        for gradients in (
            torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True, retain_graph=True)
            for loss in (with_coverage.loss, without.loss, coverage)
        )
    )
    torch.testing.assert_close(wanted, parts[0] + 0.7 * parts[1])


# Through an update


def test_an_update_has_coverage_from_its_first_step_on_and_always_reports_the_means(
    model: Transformer, batch: Batch, make_updater: UpdaterMaker
) -> None:
    reports: dict[str, dict[int, Any]] = {"with": {}, "without": {}}
    state = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for kind, weight in (("with", 0.7), ("without", 0.0)):
        for step in (2, 3):
            model.load_weights(state)
            updater = make_updater(model, coverage_weight=lambda step, weight=weight: weight if step >= 3 else 0.0)
            reports[kind][step] = updater(step, [batch, batch])
    early, late = reports["with"][2], reports["with"][3]
    assert (early.loss, early.gradient_norm) == (reports["without"][2].loss, reports["without"][2].gradient_norm)
    assert late.loss == pytest.approx(reports["without"][3].loss + 0.7 * late.pointer["coverage"])
    assert late.gradient_norm != pytest.approx(reports["without"][3].gradient_norm, rel=1e-3)
    assert late.nll == pytest.approx(early.nll)
    model.load_weights(state)
    sums = batch_loss(model, batch)
    for report in (early, late):
        assert report.pointer == pytest.approx({name: tensor.item() / TOKENS for name, tensor in sums.pointer.items()})
    assert set(sums.pointer) == {"p_gen", "copy_rate", "coverage"}


def test_a_plain_model_reports_no_pointer(make_model: ModelMaker, batch: Batch, make_updater: UpdaterMaker) -> None:
    assert make_updater(make_model())(1, [batch]).pointer == {}
