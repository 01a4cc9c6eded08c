"""Scores and gates of any size: the mixture stays finite, and what has next to no probability still has a gradient."""

from __future__ import annotations

import pytest
import torch
from pointer_problems import (
    V,
    each_dtype,
    make_pointer,
    mix,
    point,
    random_problem,
)

from summarizer.model.masks import length_mask
from summarizer.model.pointer import (
    Copying,
    DistinctTokens,
    mixed_log_probabilities,
)


@each_dtype
@pytest.mark.parametrize("gate", [-1e4, -1e3, -30.0, 30.0, 1e3, 1e4])
@pytest.mark.parametrize("size", [1.0, 1e2, 1e4])
def test_extreme_gates_and_scores_give_finite_numbers_and_gradients(
    dtype: torch.dtype, gate: float, size: float
) -> None:
    source_BS = torch.tensor([[3, 5, 3, 3, 0], [1, 1, 7, 5, 3]])
    mask_BS = length_mask(torch.tensor([5, 3]), 5)
    generator = torch.Generator().manual_seed(0)
    score_BTS, logits_BTV = (
        (size * torch.randn(2, 4, last, generator=generator, dtype=torch.float64)).to(dtype).requires_grad_()
        for last in (5, V)
    )
    gate_BT = torch.full((2, 4), gate, dtype=dtype, requires_grad=True)
    lowest = torch.finfo(dtype).min
    log_weights_BTS = score_BTS.masked_fill(~mask_BS[:, None], lowest).log_softmax(dim=-1)
    copying = Copying(log_weights_BTS.masked_fill(~mask_BS[:, None], lowest), gate_BT)
    log_probability_BTV = mixed_log_probabilities(logits_BTV, copying, DistinctTokens.of(source_BS))
    assert log_probability_BTV.isfinite().all()
    assert log_probability_BTV.max() < 1e-2  # a probability; a gate of 1e4 leaves three digits after the point
    gradients = torch.autograd.grad(log_probability_BTV.sum(), (score_BTS, logits_BTV, gate_BT))
    assert all(gradient.isfinite().all() for gradient in gradients)


@each_dtype
@pytest.mark.parametrize("size", [1e3, 1e4])
def test_a_pointer_with_extreme_scores_sends_finite_gradients_to_its_parameters(
    dtype: torch.dtype, size: float
) -> None:
    problem = random_problem(torch.tensor([[3, 5, 3, 3, 0], [1, 1, 7, 5, 3]]), [5, 3], targets=3).to(dtype)
    pointer = make_pointer().to(dtype)
    with torch.no_grad():
        pointer.query.weight.mul_(size)
        pointer.gate.weight.mul_(size)
    log_probability_BTV = mix(pointer, problem)
    gradients = torch.autograd.grad(log_probability_BTV.sum(), list(pointer.parameters()))
    assert log_probability_BTV.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_what_has_no_probability_left_in_float32_still_has_a_gradient() -> None:
    """Token 2 is all but impossible to copy (e^-150) and to generate (e^-200): the loss must say how to mend that."""

    def gradients(dtype: torch.dtype, *, in_logarithms: bool) -> list[float]:
        score_S, gate = torch.tensor([0.0, -150.0], dtype=dtype), torch.tensor(-200.0, dtype=dtype)
        log_weights_S, logits_V = score_S.log_softmax(dim=-1).requires_grad_(), torch.zeros(3, dtype=dtype)
        gate.requires_grad_()
        if in_logarithms:
            copying = Copying(log_weights_S[None, None], gate[None, None])
            tokens = DistinctTokens.of(torch.tensor([[1, 2]]))
            log_probability_V = mixed_log_probabilities(logits_V[None, None], copying, tokens)[0, 0]
        else:
            copied_V = torch.zeros(3, dtype=dtype).scatter_add(0, torch.tensor([1, 2]), log_weights_S.exp())
            log_probability_V = (gate.sigmoid() * logits_V.softmax(dim=0) + (-gate).sigmoid() * copied_V).log()
        of_copied = torch.autograd.grad(log_probability_V[2], log_weights_S, retain_graph=True)[0]
        of_generated = torch.autograd.grad(log_probability_V[0], gate)[0]
        return [*of_copied.tolist(), of_generated.item()]

    expected = gradients(torch.float64, in_logarithms=False)
    assert expected == pytest.approx([0, 1, 1])
    assert gradients(torch.float32, in_logarithms=True) == pytest.approx(expected, abs=1e-5)
    assert gradients(torch.float32, in_logarithms=False) != pytest.approx(expected, abs=0.5)  # what logarithms are for


def test_half_precision_rounds_no_weight_to_nothing() -> None:
    """Logarithms of weights and odds are float32, in which e^-30 is a number to be told from e^-31."""
    problem, pointer = random_problem(torch.tensor([[3, 5, 3, 3, 0]]), [5], targets=2), make_pointer()
    with torch.autocast("cpu", torch.bfloat16):
        copying = point(pointer.float(), problem.to(torch.float32))
    assert {tensor.dtype for tensor in copying} == {torch.float32}
    sums_BT = copying.log_weights_BTS.double().exp().sum(dim=-1)
    torch.testing.assert_close(sums_BT, torch.ones_like(sums_BT), rtol=0, atol=1e-6)
