"""AdamW with decay on the linear maps only."""

from dataclasses import dataclass

from torch import nn
from torch.optim import AdamW

from summarizer.errors import UserError


@dataclass(kw_only=True)
class OptimizerConfig:
    """AdamW (Loshchilov & Hutter 2019)."""

    lr: float = 1e-3
    """The highest learning rate, reached at the end of the warm-up."""

    beta1: float = 0.9
    beta2: float = 0.98
    """Decay of the running means of gradients and of their squares, per step."""

    eps: float = 1e-9
    weight_decay: float = 0.01

    def validate(self) -> None:
        """Raise UserError for values AdamW cannot use."""
        if not 0 < self.lr < 10:
            raise UserError(f"optimizer.lr ({self.lr}) must be above 0 and below 10: try optimizer.lr=1e-3")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"optimizer.{name} ({getattr(self, name)}) must be at least 0 and below 1")
        if not 0 < self.eps < 1:
            raise UserError(f"optimizer.eps ({self.eps}) must be above 0 and below 1: try optimizer.eps=1e-9")
        if not 0 <= self.weight_decay < 10:
            raise UserError(f"optimizer.weight_decay ({self.weight_decay}) must be at least 0 and below 10")


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW over ``model``: weights of linear maps decay; embeddings, positions, norms, biases and scores do not.

    A matrix that is both, a linear map tied to an embedding, is an embedding.
    """
    maps = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    maps -= {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decayed = [parameter for parameter in model.parameters() if id(parameter) in maps]
    kept = [parameter for parameter in model.parameters() if id(parameter) not in maps]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)
