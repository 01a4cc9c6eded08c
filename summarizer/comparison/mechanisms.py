"""The names of what is compared in; causal token mixers of about equal size out: hidden_BTD -> output_BTD.

An attention is named ``score+positions``, as in ``scaled_dot+rotary``; the references are ``convolution`` and ``lstm``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.errors import UserError
from summarizer.model.attention import MultiHeadAttention
from summarizer.model.config import AttentionShape, PositionKind, ScoreKind
from summarizer.model.positions import attention_positions
from summarizer.model.scoring import build_score

CONVOLUTION = "convolution"
LSTM = "lstm"
REFERENCES = (CONVOLUTION, LSTM)
POSITIONS = [  # those that know no longest length, for the test is on sequences longer than the training's
    PositionKind.sinusoidal,
    PositionKind.rotary,
    PositionKind.relative_bias,
    PositionKind.alibi,
    PositionKind.none,
]


@dataclass(frozen=True)
class Mechanism:
    """One of the things to compare. The references have neither score nor positions."""

    name: str
    score: ScoreKind | None = None
    positions: PositionKind = PositionKind.none


def parse_mechanism(name: str) -> Mechanism:
    """The mechanism called ``name``. Raises UserError with the names there are if there is none."""
    if name in REFERENCES:
        return Mechanism(name)
    score, _, positions = name.partition("+")
    if score in ScoreKind.__members__ and positions in {kind.name for kind in POSITIONS}:
        return Mechanism(name, ScoreKind[score], PositionKind[positions])
    raise UserError(
        f"mechanisms ({name}) must be {', '.join(REFERENCES)} or <score>+<positions>, "
        f"where the scores are {', '.join(ScoreKind.__members__)} "
        f"and the positions {', '.join(kind.name for kind in POSITIONS)}: try mechanisms=[scaled_dot+alibi,lstm]"
    )


def attention_shape(*, width: int, num_heads: int) -> AttentionShape:
    """That of every attention here: the width shared out among the heads."""
    head = width // num_heads
    return AttentionShape(num_heads=num_heads, kv_heads=num_heads, key_dim=head, value_dim=head)


class CausalAttention(nn.Module):
    """Multi-head self-attention to what came before. Sinusoidal positions are not in it but in the embeddings."""

    def __init__(self, *, width: int, num_heads: int, score: ScoreKind, positions: PositionKind) -> None:
        super().__init__()
        shape = attention_shape(width=width, num_heads=num_heads)
        self.attention = MultiHeadAttention(
            width=width,
            shape=shape,
            score=build_score(score, num_heads=num_heads, key_dim=shape.key_dim),
            positions=attention_positions(positions, num_heads=num_heads, key_dim=shape.key_dim, causal=True),
            dropout=0.0,
        )

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        output_BTD: Tensor = self.attention(hidden_BTD, hidden_BTD, causal=True)
        return output_BTD


class CausalConvolution(nn.Module):
    """Each position sees itself and the ``kernel_size - 1`` before it."""

    def __init__(self, *, width: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.convolution = nn.Conv1d(width, width, kernel_size)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        padded_BDT = F.pad(hidden_BTD.transpose(1, 2), (self.kernel_size - 1, 0))
        output_BDT: Tensor = self.convolution(padded_BDT)
        return output_BDT.transpose(1, 2)


class Recurrence(nn.Module):
    """An LSTM (Hochreiter & Schmidhuber 1997), and a linear map from its state back to the width."""

    def __init__(self, *, width: int, state_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, state_dim, batch_first=True)
        self.output = nn.Linear(state_dim, width)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        output_BTD: Tensor = self.output(self.lstm(hidden_BTD)[0])
        return output_BTD


def build_mixer(mechanism: Mechanism, *, width: int, num_heads: int) -> nn.Module:
    """The mixer, with parameters as many as scaled dot-product attention of this width has, within a few percent.

    Additive and general scores, and relative biases, are what they are: a few parameters more.
    """
    if mechanism.score is not None:
        return CausalAttention(width=width, num_heads=num_heads, score=mechanism.score, positions=mechanism.positions)
    if mechanism.name == CONVOLUTION:
        return CausalConvolution(width=width, kernel_size=4)  # 4·D² + D, attention having 4·D² + 4·D
    return Recurrence(width=width, state_dim=_state_dim(width))


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _state_dim(width: int) -> int:
    """The size N of the LSTM's state with which 4·N·(D + N + 2) + D·(N + 1) is nearest to 4·D² + 4·D."""
    linear = 5 * width + 8
    return max(1, round((math.sqrt(linear**2 + 16 * (4 * width**2 + 3 * width)) - linear) / 8))
