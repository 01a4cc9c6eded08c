"""The residual connection around each sub-layer: where the normalisation stands."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from summarizer.model.config import NormKind, NormPlacement
from summarizer.model.dropout import Dropout


class Residual(nn.Module):
    """Adds what a sub-layer makes of its input to that input, in one of two orders."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)

    def forward(self, hidden_BTD: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        raise AssertionError("a residual says where it normalises")


class PreNormResidual(Residual):
    """Normalise what enters the sub-layer; the residual stream itself is never normalised (Xiong et al. 2020)."""

    def forward(self, hidden_BTD: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        output_BTD: Tensor = hidden_BTD + self.dropout(sublayer(norm(hidden_BTD)))
        return output_BTD


class PostNormResidual(Residual):
    """Normalise the sum (Vaswani et al. 2017)."""

    def forward(self, hidden_BTD: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        output_BTD: Tensor = norm(hidden_BTD + self.dropout(sublayer(hidden_BTD)))
        return output_BTD


def build_residual(placement: NormPlacement, dropout: float) -> Residual:
    """The residual connection of a layer, without its norms."""
    match placement:
        case NormPlacement.pre:
            return PreNormResidual(dropout)
        case NormPlacement.post:
            return PostNormResidual(dropout)


def build_norm(kind: NormKind, width: int) -> nn.Module:
    """LayerNorm (Ba et al. 2016) or RMSNorm (Zhang & Sennrich 2019), computed in the precision of its input."""
    match kind:
        case NormKind.layer:
            return nn.LayerNorm(width)
        case NormKind.rms:
            return nn.RMSNorm(width, eps=1e-6)


def build_stack_norm(placement: NormPlacement, kind: NormKind, width: int) -> nn.Module:
    """What a stack of layers ends with: with pre-norm, the stream leaves them as it never was, unnormalised."""
    match placement:
        case NormPlacement.pre:
            return build_norm(kind, width)
        case NormPlacement.post:
            return nn.Identity()
