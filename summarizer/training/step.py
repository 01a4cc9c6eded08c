"""One update: forward, backward, accumulate, clip, guard, step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from summarizer.data.batch import Batch
from summarizer.model.transformer import Transformer
from summarizer.runtime import Precision, Runtime, seed_step
from summarizer.training.loss import LossSums, batch_loss


@dataclass(frozen=True)
class StepReport:
    """What one update did. Losses are means over its target tokens, in nats."""

    step: int
    loss: float
    nll: float
    accuracy: float  # share of target tokens that were the most probable one
    learning_rate: float
    gradient_norm: float  # before clipping
    target_tokens: int
    real_tokens: int  # source and target tokens without padding
    positions: int  # the same with padding
    skipped: bool  # loss or gradient was not finite, the weights were left as they were
    pointer: Mapping[str, float] = field(default_factory=dict)  # means of what LossSums.pointer sums


class Updater:
    """Applies updates to a model; the same weights, batches and step number give the same new weights.

    :param learning_rate: step -> learning rate.
    :param coverage_weight: step -> weight of the coverage loss, for models with a pointer.
    :param clip_norm: gradients longer than this are shortened to it.
    :param seed: with the step number, decides all of the update's randomness.
    """

    def __init__(
        self,
        model: Transformer,
        optimizer: Optimizer,
        *,
        runtime: Runtime,
        learning_rate: Callable[[int], float],
        label_smoothing: float,
        clip_norm: float,
        seed: int,
        coverage_weight: Callable[[int], float] = lambda step: 0.0,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.runtime = runtime
        self.learning_rate = learning_rate
        self.label_smoothing = label_smoothing
        self.coverage_weight = coverage_weight
        self.clip_norm = clip_norm
        self.seed = seed
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision is Precision.fp16)

    def __call__(self, step: int, batches: Sequence[Batch]) -> StepReport:
        """Update number ``step`` from the accumulated gradient of ``batches``.

        The loss is divided by the target tokens of all batches together, so splitting a batch changes nothing.
        """
        self.model.train()
        seed_step(self.seed, step)
        target_tokens = sum(batch.num_target_tokens for batch in batches)
        sums = self._accumulate(batches, target_tokens, self.coverage_weight(step))
        learning_rate = self.learning_rate(step)
        gradient_norm = self._apply(learning_rate, sums["loss"])
        values = (torch.stack(list(sums.values())) / target_tokens).tolist()  # one wait for the device
        means = dict(zip(sums, values, strict=True))
        loss, nll, accuracy = (means.pop(name) for name in ("loss", "nll", "correct"))
        return StepReport(
            step=step,
            loss=loss,
            nll=nll,
            accuracy=accuracy,
            learning_rate=learning_rate,
            gradient_norm=gradient_norm,
            target_tokens=target_tokens,
            real_tokens=sum(batch.num_real_tokens for batch in batches),
            positions=sum(batch.num_positions for batch in batches),
            skipped=not math.isfinite(gradient_norm) or not math.isfinite(loss),
            pointer=means,
        )

    def _accumulate(self, batches: Sequence[Batch], target_tokens: int, coverage_weight: float) -> dict[str, Tensor]:
        """Add up the gradients, and what :class:`LossSums` holds."""
        self.optimizer.zero_grad(set_to_none=True)
        totals: dict[str, Tensor] = {}
        for batch in batches:
            with self.runtime.autocast():
                sums: LossSums = batch_loss(
                    self.model,
                    batch.to(self.runtime.device),
                    label_smoothing=self.label_smoothing,
                    coverage_weight=coverage_weight,
                )
            self.scaler.scale(sums.loss / target_tokens).backward()  # type: ignore[no-untyped-call]
            mine = {"loss": sums.loss.detach(), "nll": sums.nll, "correct": sums.correct, **sums.pointer}
            totals = {name: value + totals[name] for name, value in mine.items()} if totals else mine
        return totals

    def _apply(self, learning_rate: float, loss: Tensor) -> float:
        """Step the optimizer unless loss or gradient is not finite: one bad number would spoil every weight."""
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        gradient_norm = float(norm)
        if math.isfinite(gradient_norm) and bool(torch.isfinite(loss)):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return gradient_norm
