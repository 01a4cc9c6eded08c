"""What a pointer may be given: documents and logits to mix, random and of any shape."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from summarizer.model.config import ScoreKind
from summarizer.model.masks import length_mask
from summarizer.model.pointer import (
    Copying,
    DistinctTokens,
    Pointer,
    mixed_log_probabilities,
)
from summarizer.model.scoring import build_score

D, K, V = 4, 3, 9
each_kind = pytest.mark.parametrize("kind", ScoreKind, ids=lambda kind: kind.name)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


class Problem(NamedTuple):
    """What a pointer gets to see, and the logits to mix with what it says."""

    source_BS: Tensor
    mask_BS: Tensor
    logits_BTV: Tensor
    decoder_output_BTD: Tensor
    decoder_input_BTD: Tensor
    encoder_output_BSD: Tensor

    def to(self, dtype: torch.dtype) -> Problem:
        return Problem(*self[:2], *(tensor.to(dtype) for tensor in self[2:]))


def random_problem(source_BS: Tensor, lengths: list[int], targets: int, *, seed: int = 0) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    batch, sources = source_BS.shape
    shapes = ((batch, targets, V), (batch, targets, D), (batch, targets, D), (batch, sources, D))
    tensors = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    return Problem(source_BS, length_mask(torch.tensor(lengths), sources), *tensors)


def source_rows(length: int) -> st.SearchStrategy[list[int]]:
    """Tokens of one document and ids in its padding: some repeated, all of them one, or no two equal."""
    tokens = st.integers(0, V - 1)
    return st.one_of(
        st.lists(tokens, min_size=length, max_size=length),
        tokens.map(lambda token: [token] * length),
        st.permutations(range(V)).map(lambda order: order[:length]),
    )


@st.composite
def sources(draw: st.DrawFn) -> Tensor:
    """source_BS."""
    length = draw(st.integers(1, 8), "sources")
    return torch.tensor(draw(st.lists(source_rows(length), min_size=1, max_size=3), "source"))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Documents of any length, none at all included, in padding of arbitrary ids."""
    source_BS = draw(sources())
    batch, length = source_BS.shape
    lengths = draw(st.lists(st.integers(0, length), min_size=batch, max_size=batch), "lengths")
    return random_problem(source_BS, lengths, draw(st.integers(1, 3), "targets"), seed=draw(st.integers(0, 99), "seed"))


def make_pointer(kind: ScoreKind = ScoreKind.scaled_dot) -> Pointer:
    """With random values for all parameters."""
    torch.manual_seed(0)
    pointer = Pointer(width=D, key_dim=K, score=build_score(kind, num_heads=1, key_dim=K)).double()
    for parameter in pointer.parameters():
        nn.init.normal_(parameter)
    return pointer


def point(pointer: Pointer, problem: Problem) -> Copying:
    copying: Copying = pointer(
        problem.decoder_output_BTD,
        problem.decoder_input_BTD,
        problem.encoder_output_BSD,
        pointer.keys(problem.encoder_output_BSD),
        problem.mask_BS,
    )
    return copying


def mix(pointer: Pointer, problem: Problem) -> Tensor:
    """log P_BTV."""
    return mixed_log_probabilities(problem.logits_BTV, point(pointer, problem), DistinctTokens.of(problem.source_BS))


def mixed_by_definition(logits_V: list[float], weights_S: list[float], gate: float, source_S: list[int]) -> list[float]:
    """P(w) = p_gen · P_vocabulary(w) + (1 - p_gen) · the weights of all w in the source."""
    p_gen = 1 / (1 + math.exp(-gate))
    total = sum(math.exp(logit) for logit in logits_V)
    probabilities = [p_gen * math.exp(logit) / total for logit in logits_V]
    for token, weight in zip(source_S, weights_S, strict=True):
        probabilities[token] += (1 - p_gen) * weight
    return probabilities
