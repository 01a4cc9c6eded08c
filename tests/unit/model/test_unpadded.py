"""Training without padding against training with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from summarizer.model import blockwise_attention
from summarizer.model.config import AttentionConfig, AttentionSites, PointerConfig, PositionKind, ScoreKind
from summarizer.model.masks import length_mask
from summarizer.model.transformer import Transformer
from summarizer.model.unpadded import Documents, Rows, documents_worth_unpadding

SOURCES, TARGETS, VOCABULARY = (7, 2, 9, 1), (5, 6, 1, 2), 11
DOCUMENTS = Documents(Rows(SOURCES, 9), Rows(TARGETS, 6))
SOURCE_MASK_BS, TARGET_MASK_BT = (length_mask(torch.tensor(rows.lengths), rows.padded_length) for rows in DOCUMENTS)

MakeModel = Callable[..., Transformer]


def at_every_site(**choices: Any) -> AttentionSites:
    return AttentionSites(**{site: AttentionConfig(**choices) for site in ("encoder_self", "decoder_self", "cross")})


POINTER = PointerConfig(enabled=True)
MODELS: dict[str, dict[str, Any]] = {kind.name: {"positions": kind} for kind in PositionKind}
MODELS |= {
    "additive": {"attention": at_every_site(score=ScoreKind.additive)},
    "general, shared heads": {"attention": at_every_site(score=ScoreKind.general, num_heads=4, kv_heads=2)},
    "rotary, additive, pointer": {
        "positions": PositionKind.rotary,
        "attention": at_every_site(score=ScoreKind.additive),
        "pointer": POINTER,
    },
    "pointer": {"pointer": POINTER},
}


def results(model: Transformer, documents: Documents | None) -> list[Tensor | None]:
    """What real target tokens get, and the gradients of all parameters."""
    generator = torch.Generator().manual_seed(1)
    source_BS = torch.randint(VOCABULARY, SOURCE_MASK_BS.shape, generator=generator)
    input_BT = torch.randint(VOCABULARY, TARGET_MASK_BT.shape, generator=generator)
    hidden_BTD, copying = model(source_BS, SOURCE_MASK_BS, input_BT, None, documents)
    outputs = [hidden_BTD[TARGET_MASK_BT]]
    if copying is not None:
        outputs.append(copying.copied()[TARGET_MASK_BT])
    loss = sum((output.float() if model.training else output).pow(2).sum() for output in outputs)
    assert isinstance(loss, Tensor)
    return [*outputs, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_padding_is_left_out_and_nothing_else(tiny_model: MakeModel, name: str, recompute: bool) -> None:
    model = tiny_model(dropout=0.0, **MODELS[name]).double().train()
    model.recompute = recompute
    for ours, padded in zip(results(model, DOCUMENTS), results(model, None), strict=True):
        torch.testing.assert_close(ours, padded, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["sinusoidal", "rotary", "general, shared heads", "pointer"])
def test_in_bfloat16_it_changes_rounding_alone(
    tiny_model: MakeModel, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(blockwise_attention, "_BLOCK_ELEMENTS", 100)
    model = tiny_model(dropout=0.0, **MODELS[name]).float().train()
    with torch.autocast("cpu", torch.bfloat16):
        pairs = zip(results(model, DOCUMENTS), results(model, None), strict=True)
    for ours, padded in pairs:
        if ours is not None and padded is not None and padded.norm() > 1e-3:
            assert (ours - padded).norm() <= 0.05 * padded.norm()


def test_layers_get_real_positions_alone(tiny_model: MakeModel) -> None:
    model = tiny_model(dropout=0.0).train()
    seen = []
    for layer in (*model.encoder_layers, *model.decoder_layers):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:2]))
    results(model, DOCUMENTS)
    assert set(seen) == {(1, sum(SOURCES)), (1, sum(TARGETS))}


def test_rows_come_back_with_zeros_behind_them() -> None:
    rows = Rows((2, 1), 3)
    joined_1ND = torch.tensor([[[1.0], [2.0], [3.0]]], requires_grad=True)
    padded_BSD = rows.padded(joined_1ND)
    assert padded_BSD.squeeze(-1).tolist() == [[1, 2, 0], [3, 0, 0]]
    assert rows.joined(padded_BSD).tolist() == joined_1ND.tolist()
    (gradient,) = torch.autograd.grad(padded_BSD.square().sum(), joined_1ND)
    assert gradient.flatten().tolist() == [2, 4, 6]
    assert rows.padding == 3


def test_it_is_done_where_padding_costs_more_than_attending_document_by_document() -> None:
    def is_worth_it(lengths: list[int], width: int = 512, targets: list[int] | None = None) -> bool:
        lengths_B, targets_B = torch.tensor(lengths), torch.tensor(targets or [5] * len(lengths))
        return documents_worth_unpadding(lengths_B, 400, targets_B, 5, width=width) is not None

    assert is_worth_it([400, 350])
    assert not is_worth_it([400, 400])
    assert not is_worth_it([400, 350], width=32)
    assert not is_worth_it([400, 350], targets=[5, 0]), "a batch that teaches nothing has nothing to join"
