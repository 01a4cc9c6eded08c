"""What holds for every model must hold whatever it is built from: a covering set of all choices, in float64.

One half pairs every kind of positions with every score function, at all three sites. The other combines norms, their
placement, feed-forward networks and shared heads, goes through positions and scores on the way, and has a pointer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
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
from summarizer.model.masks import length_mask
from summarizer.model.pointer import DistinctTokens, Pointer, mixed_log_probabilities
from summarizer.model.positions import RotaryPositions
from summarizer.model.scoring import DotProductScore
from summarizer.model.transformer import Transformer

VOCABULARY = 11
SOURCES, TARGETS = 6, 5
LONGEST = 16  # positions of the learned kinds
SMALL = {"width": 12, "num_heads": 2, "key_dim": 6, "value_dim": 5, "feed_forward_dim": 7, "max_positions": LONGEST}
ROUNDING = 1e-9  # a smaller gradient is none


def at_every_site(score: ScoreKind, **sizes: int) -> AttentionSites:
    return AttentionSites(
        **{site: AttentionConfig(score=score, **sizes) for site in ("encoder_self", "decoder_self", "cross")}
    )


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Names, and what they change of the config."""
    for positions, score in itertools.product(PositionKind, ScoreKind):
        yield f"{positions.name} {score.name}", {"positions": positions, "attention": at_every_site(score)}
    positions_in_turn, scores_in_turn = itertools.cycle(PositionKind), itertools.cycle(ScoreKind)
    pointers_in_turn = itertools.cycle(reversed(ScoreKind))
    for norm, placement, network, kv_heads in itertools.product(NormKind, NormPlacement, FeedForwardKind, (1, 2, 4)):
        positions, score, pointer = next(positions_in_turn), next(scores_in_turn), next(pointers_in_turn)
        changes: dict[str, Any] = {
            "positions": positions,
            "norm": norm,
            "norm_placement": placement,
            "feed_forward": network,
            "attention": at_every_site(score, num_heads=4, kv_heads=kv_heads),
            "pointer": PointerConfig(enabled=True, score=pointer, key_dim=5),
        }
        names = (norm.name, placement.name, network.name, f"{kv_heads}-of-4", positions.name, score.name)
        yield f"{' '.join(names)} {pointer.name}-pointer", changes


VARIANTS = dict(variants())
each_variant = pytest.mark.parametrize("name", VARIANTS)


@cache
def make_model(name: str) -> Transformer:
    """With random values for all parameters. Shared by the tests, none of which may change it."""
    torch.manual_seed(0)
    config = TransformerConfig(encoder_layers=2, decoder_layers=2, dropout=0.0, **SMALL, **VARIANTS[name])
    config.validate()
    model = Transformer(config, VOCABULARY).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def random_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def predicted(model: Transformer, source_BS: Tensor, mask_BS: Tensor, input_BT: Tensor) -> Tensor:
    """log P of every token after each of the input tokens: (B, T, V)."""
    hidden_BTD, copying = model(source_BS, mask_BS, input_BT)
    logits_BTV = model.project(hidden_BTD)
    if copying is None:
        return logits_BTV.log_softmax(dim=-1)
    return mixed_log_probabilities(logits_BTV, copying, DistinctTokens.of(source_BS))


SOURCE_BS, INPUT_BT = random_ids(3, SOURCES), random_ids(3, TARGETS, seed=1)
LENGTHS = [SOURCES, 1, 4]
MASK_BS = length_mask(torch.tensor(LENGTHS), SOURCES)
KEPT = {1: [2, 0], 4: [1]}  # which documents go on after a step: long ones, in places that others had


@contextmanager
def hooked(modules: dict[str, nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """While active, a forward pass calls ``hook`` with module, inputs, options and output."""
    handles = [module.register_forward_hook(hook, with_kwargs=True) for module in modules.values()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def attentions(model: Transformer) -> dict[str, MultiHeadAttention]:
    return {name: module for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}


# What a position may depend on


@each_variant
def test_no_gradient_comes_from_later_target_positions(name: str) -> None:
    model, embeddings = make_model(name), []
    with hooked({"": model.target_embedding}, lambda module, inputs, options, output: embeddings.append(output)):
        output_BTV = predicted(model, SOURCE_BS, MASK_BS, INPUT_BT)
    for position in (0, 2, TARGETS - 1):
        (gradient_BTD,) = torch.autograd.grad(output_BTV[:, position].square().sum(), embeddings, retain_graph=True)
        assert gradient_BTD[:, : position + 1].ne(0).any(-1).all()
        assert not gradient_BTD[:, position + 1 :].any()


@each_variant
@torch.no_grad()
def test_longer_padding_of_any_ids_changes_no_real_output(name: str) -> None:
    model = make_model(name)
    plain_BTV = predicted(model, SOURCE_BS, MASK_BS, INPUT_BT)
    source_BS = torch.where(MASK_BS, SOURCE_BS, random_ids(3, SOURCES, seed=2))
    source_BS = torch.cat((source_BS, random_ids(3, LONGEST - SOURCES, seed=3)), dim=1)
    input_BT = torch.cat((INPUT_BT, random_ids(3, LONGEST - TARGETS, seed=4)), dim=1)
    padded_BTV = predicted(model, source_BS, length_mask(torch.tensor(LENGTHS), LONGEST), input_BT)[:, :TARGETS]
    torch.testing.assert_close(padded_BTV, plain_BTV, rtol=0, atol=1e-11)


@each_variant
@torch.no_grad()
def test_documents_one_by_one_give_what_they_give_together(name: str) -> None:
    model = make_model(name)
    together_BTV = predicted(model, SOURCE_BS, MASK_BS, INPUT_BT)
    for row, length in enumerate(LENGTHS):
        alone_1TV = predicted(model, SOURCE_BS[row, None, :length], torch.ones(1, length).bool(), INPUT_BT[row, None])
        torch.testing.assert_close(together_BTV[row], alone_1TV[0], rtol=0, atol=1e-11)


@each_variant
def test_a_document_without_tokens_gets_no_attention_and_breaks_nothing(name: str) -> None:
    model, recorded = make_model(name), {}
    mask_BS = length_mask(torch.tensor([0, SOURCES, 4]), SOURCES)

    def record(module: MultiHeadAttention, inputs: Any, options: Any, output: Tensor) -> None:
        recorded[module] = (module.weights(*inputs, **options), output)

    looking_at_source = {key: module for key, module in attentions(model).items() if "self_attention" not in key}
    with hooked(looking_at_source, record):
        output_BTV = predicted(model, SOURCE_BS, mask_BS, INPUT_BT)
    assert len(recorded) == 4
    for module, (weights_BHTS, mixed_BTD) in recorded.items():
        assert not weights_BHTS[0].any()
        assert torch.equal(mixed_BTD[0], module.output.bias.expand_as(mixed_BTD[0]))
        torch.testing.assert_close(weights_BHTS[1:].sum(-1), torch.ones_like(weights_BHTS[1:, ..., 0]))
    alone_BTV = predicted(model, SOURCE_BS[1:], mask_BS[1:], INPUT_BT[1:])
    torch.testing.assert_close(output_BTV[1:], alone_BTV, rtol=0, atol=1e-11)
    gradients = torch.autograd.grad(output_BTV.square().sum(), list(model.parameters()), materialize_grads=True)
    assert output_BTV.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


# Step by step


@each_variant
@torch.no_grad()
def test_steps_give_what_the_whole_history_gives_while_beams_move_and_documents_leave(name: str) -> None:
    model, rng, num_beams, max_length = make_model(name), random.Random(0), 3, 7
    encoder_output_BSD = model.encode(SOURCE_BS, MASK_BS)
    state = model.start_cache(SOURCE_BS, encoder_output_BSD, MASK_BS, num_beams=num_beams, max_length=max_length)
    documents, history_BWT = torch.arange(3), torch.empty(3, num_beams, 0, dtype=torch.long)
    steps = []  # documents, histories and logits of each
    for step in range(max_length):
        token_BW = random_ids(len(documents), num_beams, seed=step)
        history_BWT = torch.cat((history_BWT, token_BW[..., None]), dim=2)
        steps.append((documents, history_BWT, model.decode_step(token_BW, step, state)))
        parent_BW = torch.tensor([[rng.randrange(num_beams) for _ in range(num_beams)] for _ in documents])
        state.reorder(parent_BW)
        history_BWT = history_BWT.gather(1, parent_BW[..., None].expand_as(history_BWT))
        if step in KEPT:
            kept_B = torch.tensor(KEPT[step])
            state.keep(kept_B)
            documents, history_BWT = documents[kept_B], history_BWT[kept_B]
    for documents, history_BWT, logits_BWV in steps:
        row_N = documents.repeat_interleave(num_beams)
        whole_NTV = predicted(model, SOURCE_BS[row_N], MASK_BS[row_N], history_BWT.flatten(0, 1))
        stepwise_BWV = logits_BWV if model.pointer else logits_BWV.log_softmax(dim=-1)
        torch.testing.assert_close(stepwise_BWV, whole_NTV[:, -1].view_as(logits_BWV), rtol=0, atol=1e-10)


# What is shown, learned and computed in half precision


@each_variant
@torch.no_grad()
def test_the_weights_shown_are_those_that_mixed_the_output(name: str) -> None:
    model, compared = make_model(name), []

    def compare(module: MultiHeadAttention, inputs: Any, options: Any, output_BTD: Tensor) -> None:
        weights_BHTS = module.weights(*inputs, **options)
        value_BGSU = module.keys_values(inputs[1]).value_BGSU
        share = module.num_heads // value_BGSU.shape[1]
        heads = [weights_BHTS[:, head] @ value_BGSU[:, head // share] for head in range(module.num_heads)]
        expected_BTD = module.output(torch.cat(heads, dim=-1))
        torch.testing.assert_close(output_BTD, expected_BTD, rtol=0, atol=1e-11)
        compared.append(module)

    with hooked(attentions(model), compare):
        model(SOURCE_BS, MASK_BS, INPUT_BT)
    assert len(compared) == 6


def cannot_learn(model: Transformer) -> set[str]:
    """Keys' biases of dot products: they add one number to all of a query's scores, which changes no softmax.
    Rotation, which turns them differently for each key, gives them a say."""
    return {
        f"{name}.key.bias"
        for name, module in model.named_modules()
        if isinstance(module, (MultiHeadAttention, Pointer))
        and isinstance(module.score, DotProductScore)
        and not (isinstance(module, MultiHeadAttention) and isinstance(module.positions, RotaryPositions))
    }


@each_variant
def test_every_parameter_learns(name: str) -> None:
    model = make_model(name)
    output_BTV = predicted(model, SOURCE_BS, MASK_BS, INPUT_BT)
    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(output_BTV.square().sum(), list(parameters.values()))
    idle = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient.abs().max() < ROUNDING}
    assert idle == cannot_learn(model)
    for name, gradient in zip(parameters, gradients, strict=True):
        # Of tables, what nobody came by cannot learn: positions after the last, buckets of longer distances.
        if name.endswith("table_SD"):
            longest = TARGETS if name.startswith("decoder") else SOURCES
            assert torch.equal(gradient.ne(0).any(1), torch.arange(LONGEST) < longest), name
        elif name.endswith("table_HN"):
            back = range(TARGETS) if name.startswith("decoder") else range(SOURCES)
            ahead = [] if name.startswith("decoder") else range(17, 16 + SOURCES)
            assert gradient.ne(0).any(0).nonzero().flatten().tolist() == [*back, *ahead], name


@each_variant
def test_autocast_changes_rounding_only(name: str) -> None:
    model, results = make_model(name), []
    single = Transformer(model.config, VOCABULARY).eval()
    single.load_weights({key: 0.5 * parameter for key, parameter in model.named_parameters()})
    mask_BS = length_mask(torch.tensor([0, SOURCES, 4]), SOURCES)  # "never" must stay finite in half precision too
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            output_BTV = predicted(single, SOURCE_BS, mask_BS, INPUT_BT).float()
        gradients = torch.autograd.grad(output_BTV.square().mean(), list(single.parameters()))
        assert all(gradient.isfinite().all() for gradient in gradients)
        results.append((output_BTV, torch.cat([gradient.flatten() for gradient in gradients])))
    for half, full in zip(*results, strict=True):
        assert (half - full).norm() < 0.05 * full.norm()
