"""The pointer's mixture is the paper's formula, for every token of the vocabulary and for numbers of any size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pointer_problems import (
    D,
    Problem,
    V,
    each_dtype,
    each_kind,
    make_pointer,
    mix,
    mixed_by_definition,
    point,
    problems,
    random_problem,
    sources,
)
from torch import Tensor, nn
from torch.func import functional_call

from summarizer.model.config import ScoreKind
from summarizer.model.pointer import (
    DistinctTokens,
    Pointer,
    raised_by_copying,
    sum_by_slot,
)

# Against the paper


@each_kind
@settings(max_examples=8)
@given(problem=problems())
def test_the_pointer_attends_to_real_tokens_and_its_gate_sees_what_it_attends_to(
    kind: ScoreKind, problem: Problem
) -> None:
    pointer = make_pointer(kind)
    log_weights_BTS, gate_BT = point(pointer, problem)
    for row, real_S in enumerate(problem.mask_BS):
        encoder_SD = problem.encoder_output_BSD[row][real_S]
        assert not log_weights_BTS[row].exp()[:, ~real_S].any()
        if not len(encoder_SD):
            continue
        for target, output_D in enumerate(problem.decoder_output_BTD[row]):
            query_1K = pointer.query(output_D)[None]
            scores_S = torch.stack([pointer.score(query_1K[None, None], pointer.key(key_D)[None, None, None]).squeeze()
                                    for key_D in encoder_SD])  # fmt: skip
            weights_S = scores_S.softmax(dim=0)
            torch.testing.assert_close(log_weights_BTS[row, target].exp()[real_S], weights_S, rtol=0, atol=1e-12)
            context_D = sum(weight * vector_D for weight, vector_D in zip(weights_S, encoder_SD, strict=True))
            seen = torch.cat((context_D, output_D, problem.decoder_input_BTD[row, target]))  # type: ignore[arg-type]
            torch.testing.assert_close(gate_BT[row, target], pointer.gate(seen).squeeze(), rtol=0, atol=1e-12)


@settings(max_examples=40)
@given(problem=problems())
def test_the_mixture_is_that_of_the_paper_in_probabilities(problem: Problem) -> None:
    pointer = make_pointer()
    log_weights_BTS, gate_BT = point(pointer, problem)
    mixed_BTV = mix(pointer, problem).exp()
    weights_BTS = log_weights_BTS.exp() * problem.mask_BS[:, None]
    for row, column in torch.cartesian_prod(*map(torch.arange, gate_BT.shape)).tolist():
        expected = mixed_by_definition(
            problem.logits_BTV[row, column].tolist(),
            weights_BTS[row, column].tolist(),
            min(gate_BT[row, column].item(), 700.0),
            problem.source_BS[row].tolist(),
        )
        assert mixed_BTV[row, column].tolist() == pytest.approx(expected, rel=1e-12, abs=1e-14)


@settings(max_examples=25)
@given(problem=problems())
def test_probabilities_sum_to_one_in_every_precision(problem: Problem) -> None:
    pointer = make_pointer()
    assert_sums_to_one(mix(pointer, problem), torch.float64, 1e-12)
    pointer, problem = pointer.float(), problem.to(torch.float32)
    assert_sums_to_one(mix(pointer, problem), torch.float32, 1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert_sums_to_one(mix(pointer, problem), torch.float32, 1e-5)
    assert_sums_to_one(mix(pointer.bfloat16(), problem.to(torch.bfloat16)), torch.float32, 1e-5)


def assert_sums_to_one(log_probability_BTV: Tensor, dtype: torch.dtype, tolerance: float) -> None:
    assert log_probability_BTV.dtype == dtype
    sums_BT = log_probability_BTV.double().exp().sum(dim=-1)
    torch.testing.assert_close(sums_BT, torch.ones_like(sums_BT), rtol=0, atol=tolerance)


@each_kind
def test_gradients_are_slopes_of_every_input_and_parameter(kind: ScoreKind) -> None:
    source_BS = torch.tensor([[3, 5, 3, 3], [1, 1, 7, 3]])
    problem, model = random_problem(source_BS, [4, 3], targets=1), Mixed(make_pointer(kind))
    parameters = dict(model.named_parameters())

    def mixed(*tensors: Tensor) -> Tensor:
        changed = Problem(*problem[:2], *tensors[:4])
        log_probability_BTV: Tensor = functional_call(model, dict(zip(parameters, tensors[4:], strict=True)), changed)
        return log_probability_BTV

    inputs = [tensor.detach().clone().requires_grad_() for tensor in (*problem[2:], *parameters.values())]
    assert torch.autograd.gradcheck(mixed, inputs)


class Mixed(nn.Module):
    """:func:`mix` as a module, whose parameters can be given from outside."""

    def __init__(self, pointer: Pointer) -> None:
        super().__init__()
        self.pointer = pointer

    def forward(self, *problem: Tensor) -> Tensor:
        return mix(self.pointer, Problem(*problem))


# Padding


@settings(max_examples=25)
@given(problem=problems(), stale=st.lists(st.integers(0, V - 1), min_size=1, max_size=5))
def test_more_padding_of_any_ids_changes_nothing(problem: Problem, stale: list[int]) -> None:
    batch, more = len(problem.source_BS), len(stale)
    generator = torch.Generator().manual_seed(1)
    source_BS = torch.where(problem.mask_BS, problem.source_BS, torch.tensor(stale[0]))
    garbage_BSD = 100 * torch.randn(batch, more, D, generator=generator, dtype=torch.float64)
    padded = problem._replace(
        source_BS=torch.cat((source_BS, torch.tensor(stale).expand(batch, -1)), dim=1),
        mask_BS=torch.cat((problem.mask_BS, torch.zeros(batch, more, dtype=torch.bool)), dim=1),
        encoder_output_BSD=torch.cat((problem.encoder_output_BSD, garbage_BSD), dim=1),
    )
    pointer = make_pointer()
    torch.testing.assert_close(mix(pointer, padded), mix(pointer, problem), rtol=0, atol=1e-12)


@each_kind
@each_dtype
def test_a_document_without_tokens_is_generated_from_the_vocabulary_alone(kind: ScoreKind, dtype: torch.dtype) -> None:
    source_BS = torch.tensor([[3, 5, 3], [3, 5, 3]])
    problem, pointer = random_problem(source_BS, [0, 3], targets=2).to(dtype), make_pointer(kind).to(dtype)
    log_probability_BTV = mix(pointer, problem)
    assert torch.equal(log_probability_BTV[0], problem.logits_BTV[0].log_softmax(dim=-1))
    assert torch.equal(point(pointer, problem).gate_BT[0].sigmoid(), torch.ones(2, dtype=dtype))
    gradients = torch.autograd.grad(
        log_probability_BTV[0].square().sum(), list(pointer.parameters()), materialize_grads=True
    )
    assert not any(gradient.any() for gradient in gradients)  # NaN would be any


# Equal tokens


@given(source_BS=sources())
def test_equal_tokens_share_a_slot_that_knows_its_token(source_BS: Tensor) -> None:
    slot_BS, token_BU = DistinctTokens.of(source_BS)
    assert torch.equal(token_BU.gather(1, slot_BS), source_BS)
    for source_S, slot_S, token_U in zip(source_BS.tolist(), slot_BS.tolist(), token_BU.tolist(), strict=True):
        used = len(set(source_S))
        assert len(set(zip(source_S, slot_S, strict=True))) == used == len(set(slot_S))
        assert set(slot_S) == set(range(used))
        assert token_U[used:] == [0] * (len(source_S) - used)


@settings(max_examples=25)
@given(source_BS=sources(), size=st.sampled_from([1.0, 1e4]))
def test_weights_of_equal_tokens_add_up_and_where_nothing_is_their_logarithm_is_finite(
    source_BS: Tensor, size: float
) -> None:
    log_weights_BS = size * torch.randn(
        source_BS.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    slot_BS = DistinctTokens.of(source_BS).slot_BS
    sums_BU = sum_by_slot(log_weights_BS, slot_BS)
    for log_weights_S, slot_S, sums_U in zip(log_weights_BS, slot_BS, sums_BU, strict=True):
        for slot, log_sum in enumerate(sums_U):
            together = log_weights_S[slot_S == slot]
            expected = together.logsumexp(dim=0).item() if len(together) else torch.finfo(torch.float64).min
            assert log_sum.item() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25)
@given(problem=problems(), gate=st.sampled_from([-1e4, 0.0, 1e4]))
def test_slots_without_a_real_token_raise_nothing(problem: Problem, gate: float) -> None:
    slot_BS, token_BU = DistinctTokens.of(problem.source_BS)
    log_weights_BTS, gate_BT = point(make_pointer(), problem)
    log_vocabulary_BU = problem.logits_BTV[:, 0].log_softmax(dim=-1).gather(1, token_BU)
    raise_BU = raised_by_copying(
        log_vocabulary_BU, log_weights_BTS[:, 0], torch.full_like(gate_BT[:, 0], gate), slot_BS
    )
    for row, real_S in enumerate(problem.mask_BS):
        used_U = torch.zeros_like(real_S).index_fill(0, slot_BS[row][real_S], True)
        assert not raise_BU[row][~used_U].any()
        assert (raise_BU[row][used_U] >= 0).all()
        assert gate > 0 or raise_BU[row][used_U].all()
