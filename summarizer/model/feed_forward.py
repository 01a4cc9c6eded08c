"""The position-wise network: every position through the same linear maps."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.model.config import FeedForwardKind
from summarizer.model.linear import Linear


class FeedForward(nn.Module):
    """Widen, activate, narrow (Vaswani et al. 2017, 3.3)."""

    def __init__(self, *, width: int, hidden_dim: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.activation = activation
        self.widen = Linear(width, hidden_dim)
        self.narrow = Linear(hidden_dim, width)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        if self.activation is F.relu:
            activated_BTF = self.widen.rectified(hidden_BTD)
        else:
            activated_BTF = self.activation(self.widen(hidden_BTD))
        output_BTD: Tensor = self.narrow(activated_BTF)
        return output_BTD


class GatedFeedForward(FeedForward):
    """The widened vector times an activated gate: SwiGLU, if the activation is SiLU (Shazeer 2020).

    With the same ``hidden_dim`` it has half as many parameters again as the plain network.
    """

    def __init__(self, *, width: int, hidden_dim: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__(width=width, hidden_dim=hidden_dim, activation=activation)
        self.gate = Linear(width, hidden_dim)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        gated_BTF = self.activation(self.gate(hidden_BTD)) * self.widen(hidden_BTD)
        output_BTD: Tensor = self.narrow(gated_BTF)
        return output_BTD


def build_feed_forward(kind: FeedForwardKind, *, width: int, hidden_dim: int) -> FeedForward:
    """The network called ``kind``."""
    match kind:
        case FeedForwardKind.relu:
            return FeedForward(width=width, hidden_dim=hidden_dim, activation=F.relu)
        case FeedForwardKind.gelu:
            return FeedForward(width=width, hidden_dim=hidden_dim, activation=F.gelu)
        case FeedForwardKind.swiglu:
            return GatedFeedForward(width=width, hidden_dim=hidden_dim, activation=F.silu)
