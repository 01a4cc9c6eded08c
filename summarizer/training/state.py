"""Everything a resumed run must find again, as named tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from summarizer.data.loader import Position
from summarizer.errors import UserError


@dataclass
class TrainerState:
    """Where a run stands. Together with weights and optimizer state it decides all that follows."""

    data: str  # fingerprint of the encoded examples that ``position`` counts in
    step: int = 0
    position: Position = field(default_factory=Position)
    best_value: float | None = None  # of the metric that picks the best checkpoint
    best_step: int | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)  # all of that validation's
    validated_step: int = 0  # of the last validation that came to its end
    stale_validations: int = 0  # since the best one
    skipped_updates: int = 0
    skipped_in_a_row: int = 0
    stopped_early: bool = False

    def copy(self) -> TrainerState:
        return replace(self)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TrainerState:
        """Raises UserError for the values of another release, or of a stranger."""
        try:
            return cls(**{**plain, "position": Position(**plain["position"])})
        except (KeyError, TypeError) as error:
            reason = str(error).rpartition("() ")[2]
            raise UserError(
                f"the checkpoint's trainer state is of another release ({reason}); its weights still serve, but the "
                "run cannot be continued; choose another run_dir"
            ) from error


def model_weights(model: nn.Module) -> dict[str, Tensor]:
    """Each parameter once, under its first name: tied embeddings are one matrix."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's running means, named after the parameter they belong to."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def restore_optimizer(model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give ``optimizer`` back what :func:`optimizer_tensors` took."""
    parameters = dict(model.named_parameters())
    for path, value in tensors.items():
        name, key = path.rsplit("/", 1)
        parameter = parameters[name]
        # The step count stays where AdamW's fused kernel expects it: beside its parameter, in float32.
        optimizer.state[parameter][key] = value.to(parameter.device, torch.float32, copy=True)
