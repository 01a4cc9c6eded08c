"""Everything a resumed run must find again, as named tensors and plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from summarizer.data.loader import Position
from summarizer.errors import UserError
from summarizer.sharding import fill

Settings: TypeAlias = dict[str, str | int | float | bool]  # by dotted name


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
    # Of what else the run is made; empty in checkpoints from before they were noted.
    validation_data: str = ""  # fingerprint of the encoded examples that ``best_value`` is of
    tokenizer: str = ""  # fingerprint of the tokenizer
    # Those that make the run what it is, by dotted name; empty in checkpoints from before they were noted.
    settings: Settings = field(default_factory=dict)

    def copy(self) -> TrainerState:
        return replace(self)

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TrainerState:
        """Raises UserError for the values of another release, or of a stranger."""
        try:
            state = cls(**{**plain, "position": Position(**plain["position"])})
        except (KeyError, TypeError) as error:
            raise _of_another_release(str(error).rpartition("() ")[2]) from error
        if not state._has_right_types():
            raise _of_another_release("its values have other types")
        return state

    def _has_right_types(self) -> bool:
        counts = [self.step, self.position.epoch, self.position.batch, self.validated_step]
        counts += [self.stale_validations, self.skipped_updates, self.skipped_in_a_row]
        counts += [] if self.best_step is None else [self.best_step]
        if not all(type(count) is int and count >= 0 for count in counts) or not isinstance(self.best_metrics, dict):
            return False
        numbers = [*self.best_metrics.values(), *([] if self.best_value is None else [self.best_value])]
        texts = [self.data, self.validation_data, self.tokenizer, *self.best_metrics]
        return (
            all(type(number) in (int, float) for number in numbers)
            and all(isinstance(text, str) for text in texts)
            and isinstance(self.stopped_early, bool)
        )


def _of_another_release(reason: str) -> UserError:
    return UserError(
        f"the checkpoint's trainer state is of another release ({reason}); its weights still serve, but the "
        "run cannot be continued; choose another run_dir"
    )


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
    """Give ``optimizer`` back what :func:`optimizer_tensors` took. Raises ValueError if that was of another model."""
    parameters = dict(model.named_parameters())
    given = {path.rpartition("/")[0] for path in tensors}
    wanted = {
        f"{name}/{key}": torch.Size([]) if key == "step" else parameters[name].shape
        for name in given & parameters.keys()
        for key in ("step", "exp_avg", "exp_avg_sq")
    }
    for path in sorted({*wanted, *tensors}):
        if path not in tensors or wanted.get(path) != tensors[path].shape:
            raise ValueError(f"the optimizer's tensors are not this model's, such as {path}")
    for path, value in tensors.items():
        name, _, key = path.rpartition("/")
        parameter = parameters[name]
        # The step count stays where AdamW's fused kernel expects it: beside its parameter, in float32.
        like = torch.zeros((), device=parameter.device) if key == "step" else parameter.detach()
        optimizer.state[parameter][key] = torch.empty_like(like, dtype=torch.float32)
        fill(optimizer.state[parameter][key], value)
