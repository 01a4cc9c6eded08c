"""Dropout drops with the probability asked for, independently, and its gradient is that of what it did."""

from __future__ import annotations

import pytest
import torch

from summarizer.model.dropout import Dropout
from summarizer.runtime import seed_step


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_elements_are_dropped_as_often_as_asked_and_means_stay(p: float) -> None:
    seed_step(1, 1)
    count = 400_003  # no multiple of four
    output = Dropout(p)(torch.ones(count))
    dropped = (output == 0).double().mean()
    assert float(dropped) == pytest.approx(p, abs=5 * (p * (1 - p) / count) ** 0.5 + 2**-16)
    assert output.unique().tolist() == [0.0, pytest.approx(1 / (1 - p), rel=2e-4)]


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 64])
def test_neighbours_are_dropped_independently(lag: int) -> None:
    """Four elements share one random number: their bits must have nothing to do with each other."""
    seed_step(1, 2)
    dropped = (Dropout(0.3)(torch.ones(200_000)) == 0).double() - 0.3
    correlation = (dropped[:-lag] * dropped[lag:]).mean() / (0.3 * 0.7)
    assert abs(float(correlation)) < 5 / 200_000**0.5


def test_each_of_four_places_is_dropped_alike() -> None:
    seed_step(1, 3)
    rates = (Dropout(0.1)(torch.ones(100_000, 4)) == 0).double().mean(dim=0)
    torch.testing.assert_close(rates, torch.full_like(rates, 0.1), rtol=0, atol=0.005)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_gradient_is_that_of_a_product_with_the_mask(dtype: torch.dtype) -> None:
    seed_step(1, 4)
    input_ND = torch.randn(33, 7, dtype=dtype, requires_grad=True)
    output_ND = Dropout(0.4)(input_ND)
    assert output_ND.dtype == dtype
    factor_ND = (output_ND / input_ND).detach()
    (gradient_ND,) = torch.autograd.grad(output_ND.sum(), input_ND)
    torch.testing.assert_close(gradient_ND, factor_ND, rtol=1e-2 if dtype is torch.bfloat16 else 1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_what_is_kept_is_scaled_and_else_untouched_whatever_its_layout(dtype: torch.dtype) -> None:
    seed_step(1, 5)
    input_NM = torch.randn(40, 60).to(dtype).t()[:, ::2]
    input_NM[0, 0] = -torch.inf
    output_NM = Dropout(0.5)(input_NM)
    assert torch.equal(output_NM, torch.where(output_NM == 0, 0, input_NM * 2))
    assert 0.4 < (output_NM == 0).double().mean() < 0.6


def test_what_is_dropped_may_be_anything_but_passes_nothing_on() -> None:
    seed_step(1, 5)
    output = Dropout(0.5)(torch.full((1000,), torch.inf))
    assert 400 < int((output == 0).sum()) < 600


def test_the_step_decides_what_is_dropped() -> None:
    def drawn(step: int) -> torch.Tensor:
        seed_step(1, step)
        return Dropout(0.5)(torch.ones(100))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_everything_can_be_dropped_and_next_to_nothing() -> None:
    assert not Dropout(1.0)(torch.ones(1000)).any()
    assert Dropout(1e-9)(torch.ones(1000)).mean() == pytest.approx(1, abs=0.01)


def test_nothing_happens_in_evaluation_or_without_a_probability() -> None:
    input = torch.ones(10)
    assert Dropout(0.5).eval()(input) is input
    assert Dropout(0.0)(input) is input
