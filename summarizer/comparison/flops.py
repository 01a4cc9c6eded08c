"""Floating-point operations of a mixer, forward and backward, without running it."""

from __future__ import annotations

import torch

from summarizer.comparison.mechanisms import (
    CausalConvolution,
    Mechanism,
    Recurrence,
    attention_shape,
    build_mixer,
)
from summarizer.model.flops import attention_operations


def count_flops(mechanism: Mechanism, length: int, *, width: int, num_heads: int) -> int:
    """Of one sequence, gradients of its input and of all parameters included, counted as in ``model/flops.py``.

    Pairs that causality forbids are counted, though a kernel may skip them.
    """
    if mechanism.score is not None:
        shape = attention_shape(width=width, num_heads=num_heads)
        amounts = {"queries": length, "keys": length, "pairs": length**2}
        return attention_operations(shape, mechanism.score, mechanism.positions, width=width, **amounts).all.both
    with torch.device("meta"):  # sizes only
        mixer = build_mixer(mechanism, width=width, num_heads=num_heads)
    if isinstance(mixer, Recurrence):
        state = mixer.lstm.hidden_size
        multiply_adds = 4 * state * (width + state) + state * width
    else:
        assert isinstance(mixer, CausalConvolution)
        multiply_adds = mixer.kernel_size * width**2
    return 3 * 2 * multiply_adds * length
