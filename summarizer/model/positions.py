"""Position encodings: where a token stands, as a vector to add to its embedding."""

import math

import torch
from torch import Tensor, nn


class SinusoidalPositions(nn.Module):
    """Sines and cosines of geometrically spaced wavelengths from 2π to 10000·2π (Vaswani et al. 2017, 3.5).

    There is nothing to learn and no longest length. Sines fill the first half of the vector, cosines the second.

    :param width: size D of the encoding; even.
    """

    table_SD: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("table_SD", sinusoids(512, width), persistent=False)

    def forward(self, start: int, length: int) -> Tensor:
        """encoding_TD of the positions ``start`` .. ``start + length - 1``."""
        end = start + length
        if end > len(self.table_SD):
            rows = 2 ** math.ceil(math.log2(end))
            self.table_SD = sinusoids(rows, self.width).to(self.table_SD)
        return self.table_SD[start:end]


def sinusoids(length: int, width: int) -> Tensor:
    """table_SD of the first ``length`` positions, computed in float64 and returned in float32."""
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(10_000) / half))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates
    return torch.cat((angles.sin(), angles.cos()), dim=1).float()
