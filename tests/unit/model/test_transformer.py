"""No look ahead, no trace of padding or neighbours, a cache that changes nothing, weights all or none."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionConfig, AttentionSites, PointerConfig, ScoreKind, TransformerConfig
from summarizer.model.masks import length_mask
from summarizer.model.scoring import DotProductScore
from summarizer.model.transformer import Transformer

MakeModel = Callable[..., Transformer]
VOCABULARY = 11  # of the tiny models
BEYOND_FIRST_ROOM = 36  # target positions for which a cache has to grow
DIFFERENT_HEADS = {"key_dim": 3, "value_dim": 5}


def at_sites(encoder_self: str, decoder_self: str, cross: str, *sizes: dict[str, int]) -> dict[str, AttentionSites]:
    """The score functions of the three sites and, if given, each site's sizes."""
    chosen = {
        site: AttentionConfig(score=ScoreKind[kind], **own)
        for site, kind, own in zip(
            ("encoder_self", "decoder_self", "cross"),
            (encoder_self, decoder_self, cross),
            sizes or ({}, {}, {}),
            strict=True,
        )
    }
    return {"attention": AttentionSites(**chosen)}


# Every score function at every site, and sites that have nothing in common.
VARIANTS: dict[str, dict[str, Any]] = {
    "different heads": DIFFERENT_HEADS,
    "scaled_dot, dot, general": at_sites("scaled_dot", "dot", "general"),
    "dot, general, additive": at_sites("dot", "general", "additive"),
    "general, additive, scaled_dot": at_sites("general", "additive", "scaled_dot"),
    "additive, scaled_dot, dot": at_sites("additive", "scaled_dot", "dot"),
    "additive": {**at_sites("additive", "additive", "additive"), **DIFFERENT_HEADS},
    "one head": {**at_sites("additive", "general", "dot"), "num_heads": 1},
    "sizes of their own": at_sites(
        "general",
        "additive",
        "additive",
        {"num_heads": 1, "key_dim": 3, "value_dim": 5},
        {"num_heads": 4, "key_dim": 5, "value_dim": 2},
        {"num_heads": 3, "key_dim": 2, "value_dim": 7},
    ),
    "shared keys": at_sites(
        "dot", "general", "additive", {"kv_heads": 1}, {"num_heads": 4, "kv_heads": 2}, {"kv_heads": 1}
    ),
}
each_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


def random_ids(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def embedded(model: Transformer, source_BS: Tensor, mask_BS: Tensor, input_BT: Tensor) -> list[Tensor]:
    """What the source and target embeddings give in a forward pass, and the decoder's output."""
    given: list[Tensor] = []
    hooks = [
        embedding.register_forward_hook(lambda module, inputs, output: given.append(output))
        for embedding in (model.source_embedding, model.target_embedding)
    ]
    output_BTD = model(source_BS, mask_BS, input_BT).hidden_BTD
    for hook in hooks:
        hook.remove()
    return [*given, output_BTD]


# What a position may depend on


@each_variant
def test_no_gradient_comes_from_later_target_positions(tiny_model: MakeModel, changes: dict[str, Any]) -> None:
    model, mask_BS = tiny_model(**changes), length_mask(torch.tensor([6, 4]), 6)
    _, embedding_BTD, output_BTD = embedded(model, random_ids(2, 6), mask_BS, random_ids(2, 5, seed=1))
    for position in range(5):
        (gradient_BTD,) = torch.autograd.grad(output_BTD[:, position].square().sum(), embedding_BTD, retain_graph=True)
        assert gradient_BTD[:, : position + 1].ne(0).any(-1).all()
        assert not gradient_BTD[:, position + 1 :].any()


@each_variant
def test_every_real_source_token_counts_and_no_padding_does(tiny_model: MakeModel, changes: dict[str, Any]) -> None:
    model, mask_BS = tiny_model(**changes), length_mask(torch.tensor([6, 4]), 6)
    embedding_BSD, _, output_BTD = embedded(model, random_ids(2, 6), mask_BS, random_ids(2, 5, seed=1))
    (gradient_BSD,) = torch.autograd.grad(output_BTD.square().sum(), embedding_BSD)
    assert torch.equal(gradient_BSD.ne(0).any(-1), mask_BS)


def test_the_order_of_the_source_matters(tiny_model: MakeModel) -> None:
    model, mask_BS, input_BT = tiny_model(), torch.ones(1, 4, dtype=torch.bool), random_ids(1, 3)
    forwards = model(torch.tensor([[5, 6, 7, 8]]), mask_BS, input_BT).hidden_BTD
    backwards = model(torch.tensor([[8, 7, 6, 5]]), mask_BS, input_BT).hidden_BTD
    assert (forwards - backwards).abs().max() > 1e-3


@each_variant
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 5e-6)], ids=str)
def test_longer_padding_of_any_ids_changes_no_real_output(
    tiny_model: MakeModel, changes: dict[str, Any], dtype: torch.dtype, tolerance: float
) -> None:
    model = tiny_model(**changes).to(dtype)
    source_BS, input_BT, lengths_B = random_ids(3, 7), random_ids(3, 5, seed=1), torch.tensor([7, 2, 4])
    plain_BTD = model(source_BS, length_mask(lengths_B, 7), input_BT).hidden_BTD
    for row, length in enumerate(lengths_B.tolist()):
        source_BS[row, length:] = random_ids(7 - length, seed=2)
    source_BS = torch.cat((source_BS, random_ids(3, 9, seed=3)), dim=1)
    input_BT = torch.cat((input_BT, random_ids(3, 6, seed=4)), dim=1)
    padded_BTD = model(source_BS, length_mask(lengths_B, 16), input_BT).hidden_BTD[:, :5]
    torch.testing.assert_close(padded_BTD, plain_BTD, rtol=0, atol=tolerance)


@each_variant
def test_documents_one_by_one_give_what_they_give_together(tiny_model: MakeModel, changes: dict[str, Any]) -> None:
    model = tiny_model(**changes)
    lengths = [6, 1, 4, 5]
    source_BS, input_BT = random_ids(4, 6), random_ids(4, 5, seed=1)
    together_BTD = model(source_BS, length_mask(torch.tensor(lengths), 6), input_BT).hidden_BTD
    for row, length in enumerate(lengths):
        alone_TD = model(
            source_BS[row : row + 1, :length], torch.ones(1, length).bool(), input_BT[row : row + 1]
        ).hidden_BTD[0]
        torch.testing.assert_close(together_BTD[row], alone_TD, rtol=0, atol=1e-12)


@each_variant
def test_a_document_without_tokens_breaks_neither_its_neighbours_nor_training(
    tiny_model: MakeModel, changes: dict[str, Any]
) -> None:
    model = tiny_model(**changes)
    source_BS, input_BT = random_ids(2, 6), random_ids(2, 5, seed=1)
    output_BTD = model(source_BS, length_mask(torch.tensor([0, 6]), 6), input_BT).hidden_BTD
    alone_BTD = model(source_BS[1:], torch.ones(1, 6).bool(), input_BT[1:]).hidden_BTD
    torch.testing.assert_close(output_BTD[1:], alone_BTD, rtol=0, atol=1e-12)
    torch.autograd.backward(output_BTD.square().sum())
    assert output_BTD.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


# Step by step


@pytest.mark.parametrize(
    ("seed", "num_beams", "max_length", "changes"),
    [
        pytest.param(0, 3, BEYOND_FIRST_ROOM, DIFFERENT_HEADS, id="3 beams"),
        pytest.param(1, 1, BEYOND_FIRST_ROOM, {}, id="1 beam"),
        pytest.param(2, 4, BEYOND_FIRST_ROOM, {}, id="4 beams"),
        *(pytest.param(3, 3, 10, changes, id=name) for name, changes in VARIANTS.items()),
    ],
)
def test_steps_give_what_the_whole_history_gives_while_beams_move_and_documents_leave(
    tiny_model: MakeModel, seed: int, num_beams: int, max_length: int, changes: dict[str, Any]
) -> None:
    rng = random.Random(seed)
    model = tiny_model(seed, **changes).requires_grad_(False)
    source_BS, mask_BS = random_ids(4, 6, seed=seed), length_mask(torch.tensor([6, 3, 1, 5]), 6)
    encoder_output_BSD = model.encode(source_BS, mask_BS)
    cache = model.start_cache(source_BS, encoder_output_BSD, mask_BS, num_beams=num_beams, max_length=max_length)
    documents = torch.arange(4)
    history_BWT = torch.empty(4, num_beams, 0, dtype=torch.long)
    for step in range(max_length):
        token_BW = random_ids(len(documents), num_beams, seed=100 * seed + step)
        history_BWT = torch.cat((history_BWT, token_BW[..., None]), dim=2)
        logits_BWV = model.decode_step(token_BW, step, cache)

        row_N = documents.repeat_interleave(num_beams)
        output_NTD = model.decode(history_BWT.flatten(0, 1), encoder_output_BSD[row_N], mask_BS[row_N]).hidden_BTD
        expected_BWV = model.project(output_NTD[:, -1]).view_as(logits_BWV)
        torch.testing.assert_close(logits_BWV, expected_BWV, rtol=0, atol=1e-11)

        if rng.random() < 0.7:
            parents = [[rng.randrange(num_beams) for _ in range(num_beams)] for _ in documents]
            parent_BW = torch.tensor(parents)
            cache.reorder(parent_BW)
            history_BWT = history_BWT.gather(1, parent_BW[..., None].expand_as(history_BWT))
        if step in (2, max_length // 2, max_length - 2):
            kept_B = torch.tensor(sorted(rng.sample(range(len(documents)), len(documents) - 1)))
            cache.keep(kept_B)
            documents, history_BWT = documents[kept_B], history_BWT[kept_B]


# Parameters


def test_tied_embeddings_are_one_parameter_and_untied_ones_are_three(tiny_model: MakeModel) -> None:
    tied, untied = tiny_model(tie_embeddings=True), tiny_model(tie_embeddings=False)
    assert tied.source_embedding.weight is tied.target_embedding.weight is tied.vocabulary.weight
    names = {name for name, _ in untied.named_parameters()} - {name for name, _ in tied.named_parameters()}
    assert names == {"target_embedding.weight", "vocabulary.weight"}
    assert untied.num_parameters - tied.num_parameters == 2 * VOCABULARY * untied.config.width


@pytest.mark.parametrize("changes", [*VARIANTS.values(), {"tie_embeddings": False}], ids=[*VARIANTS, "untied"])
def test_every_parameter_learns(tiny_model: MakeModel, changes: dict[str, Any]) -> None:
    model = tiny_model(**changes)
    logits_BTV = model.project(model(random_ids(2, 6), torch.ones(2, 6).bool(), random_ids(2, 5, seed=1)).hidden_BTD)
    torch.autograd.backward(logits_BTV.logsumexp(-1).sum())
    # The same number added to all of a query's scores changes no softmax: keys' biases of dot products cannot learn.
    cannot_learn = {
        f"{name}.key.bias"
        for name, module in model.named_modules()
        if isinstance(module, MultiHeadAttention) and isinstance(module.score, DotProductScore)
    }
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9 or name in cannot_learn, name


def test_loaded_weights_are_all_of_the_saved_ones(tiny_model: MakeModel) -> None:
    saved, model = tiny_model(seed=1), tiny_model(seed=2)
    model.load_weights(dict(saved.named_parameters()))
    for (name, ours), theirs in zip(model.named_parameters(), saved.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert ours.data_ptr() != theirs.data_ptr()
    assert model.vocabulary.weight is model.source_embedding.weight


@pytest.mark.parametrize(
    ("broken", "shape", "message"),
    [
        ("decoder_norm.bias", None, r"decoder_norm\.bias is None and should be \(16,\)"),
        ("decoder_norm.extra", (3,), r"decoder_norm\.extra is \(3,\) and should be None"),
        ("decoder_norm.weight", (16, 1), r"decoder_norm\.weight is \(16, 1\) and should be \(16,\)"),
    ],
    ids=["missing", "unknown", "wrong shape"],
)
def test_weights_of_another_model_are_refused_before_any_is_copied(
    tiny_model: MakeModel, broken: str, shape: tuple[int, ...] | None, message: str
) -> None:
    model = tiny_model(seed=1)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    weights = {name: torch.zeros_like(parameter) for name, parameter in before.items()}
    weights.pop(broken, None)
    if shape is not None:
        weights[broken] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        model.load_weights(weights)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


# The start of training


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("num_layers", [1, 8])
def test_a_new_model_knows_nothing_and_is_not_sure_of_it(num_layers: int, tie_embeddings: bool) -> None:
    torch.manual_seed(0)
    vocab_size = 500
    sizes = {"width": 128, "num_heads": 2, "encoder_layers": num_layers, "decoder_layers": num_layers}
    model = Transformer(TransformerConfig(**sizes, tie_embeddings=tie_embeddings), vocab_size).eval()
    source_BS, input_BT = torch.randint(vocab_size, (8, 10)), torch.randint(vocab_size, (8, 12))
    logits_BTV = model.project(model(source_BS, torch.ones(8, 10).bool(), input_BT).hidden_BTD)
    # A tied model starts by betting on the input token, whose embedding is still in the stream; not so on others.
    logits_BTV = logits_BTV.scatter(2, input_BT[..., None], -math.inf)
    target_BT = (input_BT + torch.randint(1, vocab_size, (8, 12))) % vocab_size
    loss = F.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten()).item()
    assert math.log(vocab_size) - 0.2 < loss < math.log(vocab_size) + 1.0


@pytest.mark.parametrize("score", [ScoreKind.dot, ScoreKind.general])
def test_a_new_model_of_dot_products_is_that_of_scaled_ones(score: ScoreKind) -> None:
    """Whose scores are of size one: without the scale, the first queries and keys are smaller."""
    outputs = []
    for kind in (score, ScoreKind.scaled_dot):
        torch.manual_seed(0)
        sizes = {"width": 64, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2}
        pointer = PointerConfig(enabled=True, score=kind)
        config = TransformerConfig(**sizes, **at_sites(*[kind.name] * 3), pointer=pointer)  # type: ignore[arg-type]
        model = Transformer(config, VOCABULARY).eval()
        output = model(random_ids(2, 9), torch.ones(2, 9).bool(), random_ids(2, 5, seed=1))
        outputs.append((output.hidden_BTD, output.copying))
    torch.testing.assert_close(*outputs)


def test_depth_does_not_make_the_stream_of_a_new_model_grow() -> None:
    spreads = []
    for num_layers in (1, 12):
        torch.manual_seed(0)
        config = TransformerConfig(width=64, num_heads=2, encoder_layers=num_layers, decoder_layers=num_layers)
        model = Transformer(config, VOCABULARY).eval()
        given: list[Tensor] = []
        model.encoder_norm.register_forward_hook(lambda module, inputs, output, given=given: given.append(inputs[0]))
        model.encode(random_ids(4, 9), torch.ones(4, 9).bool())
        spreads.append(given[0].std().item())
    assert spreads[1] == pytest.approx(spreads[0], rel=0.15)


@pytest.mark.parametrize("name", ["different heads", "additive"])
def test_dropout_acts_in_training_only(tiny_model: MakeModel, name: str) -> None:
    inputs = (random_ids(2, 6), torch.ones(2, 6).bool(), random_ids(2, 5, seed=1))
    plain_BTD = tiny_model(**VARIANTS[name])(*inputs).hidden_BTD
    for dropout in ("dropout", "attention_dropout"):
        model = tiny_model(**{dropout: 0.5}, **VARIANTS[name])
        assert torch.equal(model(*inputs).hidden_BTD, plain_BTD)
        assert not torch.allclose(model.train()(*inputs).hidden_BTD, plain_BTD)
