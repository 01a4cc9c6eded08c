"""How weights start."""

import math

from torch import nn

from summarizer.model.attention import MultiHeadAttention
from summarizer.model.feed_forward import FeedForward
from summarizer.model.pointer import Pointer


def initialize(model: nn.Module, *, num_layers: int) -> None:
    """Give every parameter of ``model`` its first value, drawn from torch's global generator.

    Linear maps are Glorot-uniform with zero bias. Those that write to the residual stream are made smaller by
    sqrt(2 * num_layers), so that the stream's variance does not grow with depth (Radford et al. 2019). Embeddings
    have variance 1/D: scaled up by sqrt(D) on the way in, they match the size of the position encodings, and used
    as the output projection they give logits of unit variance. Queries and keys start as their score function wants.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    shrink = 1 / math.sqrt(2 * num_layers)
    for module in model.modules():
        if isinstance(module, MultiHeadAttention | Pointer):
            module.query.weight.data.mul_(module.score.first_gain)
            module.key.weight.data.mul_(module.score.first_gain)
        if isinstance(module, MultiHeadAttention):
            module.output.weight.data.mul_(shrink)
        elif isinstance(module, FeedForward):
            module.narrow.weight.data.mul_(shrink)
