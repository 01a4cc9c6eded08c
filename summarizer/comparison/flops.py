"""Floating-point operations of a mixer, forward and backward, without running it."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from summarizer.comparison.mechanisms import CausalAttention, Mechanism, Recurrence, build_mixer
from summarizer.model.scoring import AdditiveScore


def count_flops(mechanism: Mechanism, length: int, *, width: int, num_heads: int) -> int:
    """Of one sequence, gradients of its input and of all parameters included.

    Counted are matrix products, a multiply-add being 2, and the elementwise work of additive scores, of which there is
    as much as of their products. Softmax, biases, gates and rotations are not counted. Pairs that causality forbids
    are counted, though a kernel may skip them.
    """
    with torch.device("meta"):  # shapes only
        mixer = build_mixer(mechanism, width=width, num_heads=num_heads)
        hidden_BTD = torch.empty(1, length, width, requires_grad=True)
    if isinstance(mixer, Recurrence):
        return _recurrence_flops(mixer, length)
    # The explicit kernel: PyTorch counts what it does exactly, and the same on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        mixer(hidden_BTD).sum().backward()
    counted: int = counter.get_total_flops()
    return counted + _uncounted_flops(mixer, length)


def _recurrence_flops(mixer: Recurrence, length: int) -> int:
    """By formula, for the counter sees an LSTM's steps on no device but the meta one, and those one by one.

    Backward multiplies twice as often as forward: for the gradient of the input and for that of the weights.
    """
    state, width = mixer.lstm.hidden_size, mixer.lstm.input_size
    multiply_adds = 4 * state * (width + state) + state * width
    return 3 * 2 * multiply_adds * length


def _uncounted_flops(mixer: nn.Module, length: int) -> int:
    """The elementwise part of additive scores, per pair and element of a key.

    Forward, an addition and a tanh. Backward, both once more, four operations for the slope of v·tanh, its product
    with the gradient, and the sum over queries. A tanh counts as one, though it takes the time of many.
    """
    if not (isinstance(mixer, CausalAttention) and isinstance(mixer.attention.score, AdditiveScore)):
        return 0
    pairs = length * length
    return (2 + 8) * pairs * mixer.attention.score.vector_HK.numel()
