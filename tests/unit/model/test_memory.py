"""What is foretold of a forward pass is what autograd keeps of a real one."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from summarizer.model.config import PositionKind, TransformerConfig
from summarizer.model.masks import length_mask
from summarizer.model.memory import SavedStorages, kept_bytes
from summarizer.model.transformer import Transformer
from tests.unit.model.test_flops import UNSHRUNK, configs

SMALL = TransformerConfig(width=16, num_heads=2, encoder_layers=3, decoder_layers=2)


def really_kept(config: TransformerConfig, examples: int, source: int, target: int, low: torch.dtype | None) -> int:
    model = Transformer(config, vocab_size=11).train()
    source_BS, target_BT = torch.ones(examples, source).long(), torch.ones(examples, target).long()
    mask_BS = length_mask(torch.full((examples,), source), source)
    with SavedStorages(model) as saved, nullcontext() if low is None else torch.autocast("cpu", low):
        model(source_BS, mask_BS, target_BT)
    return saved.num_bytes


@settings(max_examples=8, phases=UNSHRUNK)
@given(
    configs,
    st.floats(0, 0.5),
    st.sampled_from([None, torch.bfloat16]),
    st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
)
def test_bytes_kept_are_those_of_a_real_pass(
    config: TransformerConfig, dropout: float, low: torch.dtype | None, shape: tuple[int, int, int]
) -> None:
    config.dropout = dropout
    examples, source, target = shape
    foretold = kept_bytes(config, examples=examples, source=source, target=target, low_precision=low)
    assert foretold.of(config) == really_kept(config, examples, source, target, low)


def test_a_storage_counts_once_however_often_it_is_kept() -> None:
    weight = torch.nn.Linear(4, 4, bias=False)
    input_34 = torch.ones(3, 4, requires_grad=True)
    with SavedStorages(weight) as saved:
        output_34 = weight(input_34)
        (output_34 * output_34 * input_34).sum()
    # input, output and its square; the weight is a parameter
    assert saved.num_bytes == 3 * 3 * 4 * 4


@pytest.mark.parametrize(("positions", "growth"), [(PositionKind.rotary, 2.0), (PositionKind.alibi, 3.0)])
def test_memory_grows_with_the_length_or_with_its_square_where_scores_exist(
    positions: PositionKind, growth: float
) -> None:
    config = TransformerConfig(width=16, num_heads=4, encoder_layers=1, decoder_layers=1, positions=positions)
    short, long = (kept_bytes(config, examples=4, source=n, target=n).encoder_layer for n in (1024, 2048))
    assert long / short == pytest.approx(2.0, rel=0.02) if growth == 2.0 else long / short > growth


def test_a_model_larger_than_any_memory_is_counted() -> None:
    config = TransformerConfig(width=1 << 16, num_heads=128, encoder_layers=100, decoder_layers=100)
    assert kept_bytes(config, examples=10_000, source=4096, target=512).of(config) > 1 << 50
