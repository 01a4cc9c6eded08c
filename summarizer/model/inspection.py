"""A model and a batch in, the weights its cross-attentions share out among the source tokens out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.mode import evaluating
from summarizer.model.transformer import Transformer


@torch.no_grad()
def cross_attention_weights(
    model: Transformer, source_BS: Tensor, source_mask_BS: Tensor, decoder_input_BT: Tensor
) -> Tensor:
    """weights_LBHTS of the L decoder layers, float32, without dropout. Row t chooses the token after input t.

    :param source_mask_BS: bool, True = may attend.
    :param decoder_input_BT: the target moved right by one, as in training.
    """
    with evaluating(model), _recording(model) as recorded:
        model(source_BS, source_mask_BS, decoder_input_BT)
    return torch.stack(recorded)


@contextmanager
def _recording(model: Transformer) -> Iterator[list[Tensor]]:
    """While active, a forward pass of ``model`` appends each layer's weights_BHTS, first layer first."""
    recorded: list[Tensor] = []

    def record(attention: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]) -> None:
        assert isinstance(attention, MultiHeadAttention)
        recorded.append(attention.weights(*inputs, **options).float())

    hooks = [
        layer.get_submodule("cross_attention").register_forward_pre_hook(record, with_kwargs=True)
        for layer in model.decoder_layers
    ]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()
