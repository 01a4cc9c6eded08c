"""Lengths in, attention masks out. In every mask True means "may attend"."""

import torch
from torch import Tensor


def length_mask(lengths_B: Tensor, max_length: int) -> Tensor:
    """mask_BS: True at the real tokens of each row, False at the padding behind them."""
    positions_S = torch.arange(max_length, device=lengths_B.device)
    return positions_S < lengths_B[:, None]


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """mask_TT: a position may attend to itself and to what came before."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
