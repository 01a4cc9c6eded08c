"""The position-wise network: every position through the same two linear maps."""

import torch.nn.functional as F
from torch import Tensor, nn


class FeedForward(nn.Module):
    """Widen, ReLU, narrow (Vaswani et al. 2017, 3.3)."""

    def __init__(self, *, width: int, hidden_dim: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden_dim)
        self.narrow = nn.Linear(hidden_dim, width)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        activated_BTF = F.relu(self.widen(hidden_BTD))
        output_BTD: Tensor = self.narrow(activated_BTF)
        return output_BTD
