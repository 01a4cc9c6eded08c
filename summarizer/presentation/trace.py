"""A model, a source and a target in; their tokens and where the model looked for each of them out.

L decoder layers, H heads, T target, S source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from summarizer.model.inspection import inspect
from summarizer.model.transformer import Transformer
from summarizer.tokenizer import START_ID, Tokenizer

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AttentionTrace:
    """What a model looked at while it wrote one summary: row t of each matrix is how it chose ``targets[t]``."""

    sources: list[str]  # S token pieces
    targets: list[str]  # T token pieces
    weights_LHTS: Weights  # of the cross-attention; rows sum to one
    copy_TS: Weights | None = None  # the pointer's distribution; None without a pointer
    copied_T: Weights | None = None  # probability that the token was copied; None without a pointer

    @property
    def average(self) -> Weights:
        """weights_TS, the mean of all layers and heads."""
        weights_TS: Weights = self.weights_LHTS.mean(axis=(0, 1))
        return weights_TS


def trace_attention(
    model: Transformer,
    tokenizer: Tokenizer,
    *,
    source: Sequence[int],
    target: Sequence[int],
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> AttentionTrace:
    """Let ``model`` read ``source`` and write ``target`` once more, and watch.

    :param source: ids as the model reads them, the end id among them.
    :param target: ids as it wrote them.
    """
    source_BS = torch.tensor([source], device=device)
    target_BT = torch.tensor([target], device=device)
    decoder_input_BT = torch.tensor([[START_ID, *target[:-1]]], device=device)
    with autocast():
        mask_BS = torch.ones_like(source_BS, dtype=torch.bool)
        seen = inspect(model, source_BS, mask_BS, decoder_input_BT, target_BT)
    return AttentionTrace(
        sources=tokenizer.pieces(source),
        targets=tokenizer.pieces(target),
        weights_LHTS=_array(seen.cross_LBHTS[:, 0]),
        copy_TS=None if seen.copy_BTS is None else _array(seen.copy_BTS[0]),
        copied_T=None if seen.copied_BT is None else _array(seen.copied_BT[0]),
    )


def _array(tensor: Tensor) -> Weights:
    array: Weights = tensor.float().cpu().numpy()
    return array
