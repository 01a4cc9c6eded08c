"""A small model around a mechanism: tokens of the recall task in, scores of the possible answers out."""

from __future__ import annotations

import math

from torch import Tensor, nn

from summarizer.comparison.mechanisms import Mechanism, build_mixer
from summarizer.comparison.recall import NUM_VALUES, VOCAB_SIZE
from summarizer.model.config import FeedForwardKind, NormKind, NormPlacement
from summarizer.model.feed_forward import build_feed_forward
from summarizer.model.initialization import initialize
from summarizer.model.positions import embedding_positions
from summarizer.model.residual import build_norm, build_residual

NUM_LAYERS = 2  # one to bring each key to the token behind it, one to find the key that is asked for


class Layer(nn.Module):
    """A Transformer's layer, if the mixer is an attention: normalise, mix, add; normalise, feed forward, add."""

    def __init__(self, mixer: nn.Module, *, width: int) -> None:
        super().__init__()
        self.mixer_norm = build_norm(NormKind.layer, width)
        self.mixer = mixer
        self.feed_forward_norm = build_norm(NormKind.layer, width)
        self.feed_forward = build_feed_forward(FeedForwardKind.relu, width=width, hidden_dim=2 * width)
        self.residual = build_residual(NormPlacement.pre, dropout=0.0)

    def forward(self, hidden_BTD: Tensor) -> Tensor:
        hidden_BTD = self.residual(hidden_BTD, self.mixer_norm, self.mixer)
        hidden_BTD = self.residual(hidden_BTD, self.feed_forward_norm, self.feed_forward)
        return hidden_BTD


class RecallClassifier(nn.Module):
    """Embeds, applies the layers, and answers at the last positions.

    Its weights are drawn from torch's global generator.
    """

    def __init__(self, mechanism: Mechanism, *, width: int, num_heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, width)
        self.embedding_scale = math.sqrt(width)
        self.positions = embedding_positions(mechanism.positions, width=width, max_positions=0)
        mixers = [build_mixer(mechanism, width=width, num_heads=num_heads) for _ in range(NUM_LAYERS)]
        self.layers = nn.ModuleList([Layer(mixer, width=width) for mixer in mixers])
        self.norm = build_norm(NormKind.layer, width)
        self.output = nn.Linear(width, NUM_VALUES)
        initialize(self, num_layers=NUM_LAYERS)

    def forward(self, token_BT: Tensor, num_questions: int) -> Tensor:
        """logits_BPV of the answers at the last P = ``num_questions`` positions."""
        hidden_BTD = self.positions.added_to(self.embedding(token_BT) * self.embedding_scale, 0, token_BT.shape[1])
        for layer in self.layers:
            hidden_BTD = layer(hidden_BTD)
        logits_BPV: Tensor = self.output(self.norm(hidden_BTD[:, -num_questions:]))
        return logits_BPV
