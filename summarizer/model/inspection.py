"""A model and a batch in; how its cross-attentions and its pointer share themselves out among the source tokens out.

L decoder layers, B batch, H heads, T target, S source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.mode import evaluating
from summarizer.model.pointer import DistinctTokens, copied_share
from summarizer.model.transformer import Transformer


@dataclass(frozen=True)
class Inspection:
    """Where a decoder looked. Row t belongs to the choice of the token after decoder input t."""

    cross_LBHTS: Tensor  # float32; rows sum to one, padding gets zero
    copy_BTS: Tensor | None = None  # float32: the pointer's distribution over the source; None without a pointer
    copied_BT: Tensor | None = None  # float32: how probable it is, the token being known, that it was copied


@torch.no_grad()
def inspect(
    model: Transformer, source_BS: Tensor, source_mask_BS: Tensor, decoder_input_BT: Tensor, target_BT: Tensor
) -> Inspection:
    """One forward pass without dropout, observed.

    :param source_mask_BS: bool, True = may attend.
    :param decoder_input_BT: the target moved right by one, as in training.
    """
    with evaluating(model), _recording(model) as recorded:
        output = model(source_BS, source_mask_BS, decoder_input_BT)
        cross_LBHTS = torch.stack(recorded)
        if output.copying is None:
            return Inspection(cross_LBHTS)
        logits_BTV = model.project(output.hidden_BTD)
    copy_BTS = output.copying.log_weights_BTS.exp().float()
    copied_BT = copied_share(logits_BTV, output.copying, DistinctTokens.of(source_BS), target_BT)
    return Inspection(cross_LBHTS, copy_BTS, copied_BT.float())


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
