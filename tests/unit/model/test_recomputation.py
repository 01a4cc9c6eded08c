"""Layers that compute their activations again keep fewer of them; the rest is the same, down to what is dropped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from summarizer.model.config import (
    AttentionConfig,
    AttentionSites,
    PointerConfig,
    PositionKind,
    ScoreKind,
    TransformerConfig,
)
from summarizer.model.transformer import Transformer

ADDITIVE = AttentionConfig(score=ScoreKind.additive)


def make(recompute: bool, **changes: Any) -> Transformer:
    torch.manual_seed(1)
    sizes = {"width": 16, "num_heads": 2, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.3}
    return Transformer(TransformerConfig(**{**sizes, **changes}), 23, recompute=recompute)


def learn(model: nn.Module, precision: torch.dtype) -> tuple[Tensor, dict[str, Tensor], int]:
    """A loss, its gradients, and how many numbers were kept between the forward and the backward pass."""
    torch.manual_seed(2)
    source_BS, target_BT = torch.randint(3, 23, (3, 9)), torch.randint(3, 23, (3, 7))
    mask_BS = torch.arange(9) < torch.tensor([[9], [5], [1]])
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
            hidden_BTD, copying = model(source_BS, mask_BS, target_BT)
        loss = hidden_BTD.float().square().mean()
        if copying is not None:
            loss = loss + copying.copied().square().mean()
    loss.backward()
    return loss.detach(), {name: weight.grad for name, weight in model.named_parameters()}, sum(kept.values())


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"positions": PositionKind.rotary, "pointer": PointerConfig(enabled=True)},
        {"positions": PositionKind.relative_bias, "attention_dropout": 0.2},
        {"attention": AttentionSites(encoder_self=ADDITIVE, decoder_self=ADDITIVE, cross=ADDITIVE)},
    ],
    ids=["plain", "rotary with a pointer", "dropped attention", "additive"],
)
def test_loss_and_gradients_are_the_same_bit_for_bit(changes: dict[str, Any], precision: torch.dtype) -> None:
    loss, gradients, kept = learn(make(False, **changes), precision)
    again, gradients_again, kept_again = learn(make(True, **changes), precision)
    assert torch.equal(again, loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_again[name], gradient, rtol=0, atol=0)
    assert kept_again < 0.5 * kept


def test_what_is_not_trained_is_computed_once() -> None:
    model = make(True).eval()
    calls = []
    for layer in (*model.encoder_layers, *model.decoder_layers):
        layer.register_forward_hook(lambda *_: calls.append(1))
    learn(model, torch.float32)
    assert len(calls) == 4
