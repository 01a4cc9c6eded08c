"""Operations are those that PyTorch counts, where it counts them, and those of real tokens alone."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from summarizer.model.config import (
    AttentionConfig,
    AttentionSites,
    FeedForwardKind,
    NormKind,
    NormPlacement,
    PointerConfig,
    PositionKind,
    ScoreKind,
    TransformerConfig,
)
from summarizer.model.flops import Amounts, forward_flops, operations_by_part, update_flops
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer

VOCAB = 13
UNSHRUNK = [Phase.reuse, Phase.generate]  # configs are small, and each takes a while
TRAINED = TransformerConfig(width=16, num_heads=2, encoder_layers=2, decoder_layers=3)

attentions = st.builds(
    AttentionConfig,
    score=st.sampled_from(ScoreKind),
    num_heads=st.sampled_from([None, 1, 4]),
    kv_heads=st.sampled_from([None, 1]),
    key_dim=st.sampled_from([None, 6]),
    value_dim=st.sampled_from([None, 5]),
)
configs = st.builds(
    TransformerConfig,
    width=st.sampled_from([8, 16]),
    num_heads=st.sampled_from([1, 2]),
    encoder_layers=st.integers(1, 3),
    decoder_layers=st.integers(1, 3),
    feed_forward_dim=st.sampled_from([None, 10]),
    attention=st.builds(AttentionSites, encoder_self=attentions, decoder_self=attentions, cross=attentions),
    pointer=st.builds(
        PointerConfig,
        enabled=st.booleans(),
        score=st.sampled_from(ScoreKind),
        key_dim=st.sampled_from([None, 6]),
    ),
    positions=st.sampled_from(PositionKind),
    norm=st.sampled_from(NormKind),
    norm_placement=st.sampled_from(NormPlacement),
    feed_forward=st.sampled_from(FeedForwardKind),
    tie_embeddings=st.booleans(),
)


def counted(config: TransformerConfig, examples: int, source: int, target: int) -> tuple[int, int]:
    """What PyTorch counts of products: forward, and forward with backward. Nothing is computed."""
    with torch.device("meta"):
        model = Transformer(config, VOCAB).train()
        source_BS, target_BT = torch.ones(examples, source).long(), torch.ones(examples, target).long()
        mask_BS = length_mask(torch.full((examples,), source), source)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # the kernel whose steps it sees
        hidden_BTD, copying = model(source_BS, mask_BS, target_BT)
        outputs = [model.project(hidden_BTD).sum()]
        outputs += [] if copying is None else [tensor.sum() for tensor in copying]
        forward = counter.get_total_flops()
        torch.stack(outputs).sum().backward()
    return forward, counter.get_total_flops()


@settings(max_examples=25, phases=UNSHRUNK)
@given(configs, st.integers(1, 3), st.integers(2, 9), st.integers(2, 9))
def test_products_are_those_that_pytorch_counts(
    config: TransformerConfig, examples: int, source: int, target: int
) -> None:
    parts = operations_by_part(config, VOCAB, Amounts.padded(examples, source, target, examples * target))
    products = sum(part.products for part in parts.values())
    assert (products, 3 * products) == counted(config, examples, source, target)


def test_what_pytorch_does_not_count_is_counted_element_by_element() -> None:
    """Of one encoder layer with two heads of 8 and 5 tokens, and one decoder layer with 3."""

    def elementwise(**changes: Any) -> tuple[int, int]:
        config = TransformerConfig(width=16, num_heads=2, encoder_layers=1, decoder_layers=1, **changes)
        parts = operations_by_part(config, VOCAB, Amounts.padded(1, 5, 3, 3)).values()
        return sum(part.elementwise for part in parts), sum(part.elementwise_backward for part in parts)

    additive = AttentionConfig(score=ScoreKind.additive)
    assert elementwise() == (0, 0)
    assert elementwise(positions=PositionKind.rotary) == (3 * 2 * 16 * (5 + 3),) * 2
    assert elementwise(positions=PositionKind.alibi) == (2 * (25 + 9), 0)
    assert elementwise(positions=PositionKind.relative_bias) == (2 * (25 + 9),) * 2
    assert elementwise(attention=AttentionSites(cross=additive)) == (2 * 16 * 15, 8 * 16 * 15)
    pointer = PointerConfig(enabled=True, score=ScoreKind.additive, key_dim=4)
    assert elementwise(pointer=pointer) == (2 * 4 * 15, 8 * 4 * 15)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), min_size=1, max_size=5))
def test_real_tokens_count_one_by_one_and_padding_not_at_all(lengths: list[tuple[int, int]]) -> None:
    together = Amounts.of(*torch.tensor(lengths).T)
    alone = [Amounts.of(torch.tensor([source]), torch.tensor([target])) for source, target in lengths]
    assert together == Amounts(*map(sum, zip(*alone, strict=True)))
    for (source, target), amounts in zip(lengths, alone, strict=True):
        computed = Amounts.padded(1, source, target, target)
        # A token of the decoder sees itself and what came before.
        assert amounts.target_pairs == len(list(itertools.combinations_with_replacement(range(target), 2)))
        assert computed._replace(target_pairs=amounts.target_pairs) == amounts


def test_the_vocabulary_is_for_tokens_that_are_predicted_and_cross_keys_are_projected_once() -> None:
    amounts = Amounts.padded(2, 8, 6, 7)
    parts = operations_by_part(TRAINED, VOCAB, amounts)
    assert parts["vocabulary"].products == 2 * 7 * VOCAB * 16
    longer = operations_by_part(TRAINED, VOCAB, amounts._replace(targets=amounts.targets + 1))
    of_a_target = longer["attention, linear maps"].products - parts["attention, linear maps"].products
    assert of_a_target == TRAINED.decoder_layers * 2 * 16 * 16 * (4 + 2)


def test_an_update_is_three_forward_passes_of_products() -> None:
    amounts = Amounts.padded(1, 4, 3, 3)
    assert update_flops(TRAINED, VOCAB, amounts) == 3 * forward_flops(TRAINED, VOCAB, amounts)


@pytest.mark.parametrize("size", [10**4, 10**6])
def test_operations_of_huge_models_are_exact_numbers(size: int) -> None:
    config = TransformerConfig(width=size, num_heads=2, encoder_layers=100, decoder_layers=100)
    flops = update_flops(config, size, Amounts.of(torch.tensor([10**6]), torch.tensor([10**6])))
    assert isinstance(flops, int)
    assert flops > 3 * 2 * 100 * 12 * size**2 * 10**6
