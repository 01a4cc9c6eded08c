"""One update: forward, backward, accumulate, clip, guard, step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from summarizer.data.batch import Batch
from summarizer.errors import UserError
from summarizer.model.flops import Amounts, update_flops
from summarizer.model.transformer import Transformer
from summarizer.parallel import ALONE, Processes, noticing_loss
from summarizer.runtime import Precision, Runtime, seed_step
from summarizer.sharding import is_sharded, whole
from summarizer.training.cross_entropy import LossSums
from summarizer.training.loss import batch_loss
from summarizer.training.memory import is_out_of_memory

logger = logging.getLogger(__name__)


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
    flops: int  # floating-point operations that the real tokens need, forward and backward
    skipped: bool  # loss or gradient was not finite, the weights were left as they were
    skipped_ids: tuple[str, ...] = ()  # of the examples of a skipped update
    pointer: Mapping[str, float] = field(default_factory=dict)  # means of what LossSums.pointer sums


class Updater:
    """Applies updates to a model; the same weights, batches and step number give the same new weights.

    :param model: of which each process may hold all, or a part of every weight.
    :param learning_rate: step -> learning rate.
    :param coverage_weight: step -> weight of the coverage loss, for models with a pointer.
    :param clip_norm: gradients longer than this are shortened to it.
    :param seed: with the step number and this process's rank, decides all of the update's randomness.
    :param processes: those that compute an update together, each from its share of the batches.
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
        processes: Processes = ALONE,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.runtime = runtime
        self.learning_rate = learning_rate
        self.label_smoothing = label_smoothing
        self.coverage_weight = coverage_weight
        self.clip_norm = clip_norm
        self.seed = seed
        self.processes = processes
        self.is_sharded = is_sharded(model)
        self.pieces = 1  # that a batch is computed in, since it did not fit the memory in fewer
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision is Precision.fp16)

    def __call__(
        self, step: int, batches: Sequence[Batch], meanwhile: Callable[[], object] = lambda: None
    ) -> StepReport:
        """Update number ``step`` from the accumulated gradient of ``batches``.

        The loss is divided by the target tokens of all batches of all processes together, so splitting a batch changes
        nothing.

        :param meanwhile: called once, when a GPU has got its work and nobody has waited for it yet.
        """
        target_tokens, real_tokens, positions, flops = self._count(batches)
        sums = self._accumulate_in_pieces(step, batches, target_tokens)
        meanwhile()
        if not self.is_sharded:  # else the backward pass has done so
            self.processes.sum_gradients(self.model.parameters())
        sums = dict(zip(sums, self.processes.sum(torch.stack(list(sums.values()))), strict=True))
        learning_rate = self.learning_rate(step)
        gradient_norm = self._apply(learning_rate, sums["loss"] / target_tokens)
        values = (torch.stack(list(sums.values())) / target_tokens).tolist()  # one wait for the device
        means = dict(zip(sums, values, strict=True))
        loss, nll, accuracy = (means.pop(name) for name in ("loss", "nll", "correct"))
        skipped = not math.isfinite(gradient_norm) or not math.isfinite(loss)
        ids = self.processes.exchange([id for batch in batches for id in batch.ids]) if skipped else []
        return StepReport(
            step=step,
            loss=loss,
            nll=nll,
            accuracy=accuracy,
            learning_rate=learning_rate,
            gradient_norm=gradient_norm,
            target_tokens=target_tokens,
            real_tokens=real_tokens,
            positions=positions,
            flops=flops,
            skipped=skipped,
            skipped_ids=tuple(dict.fromkeys(chain.from_iterable(ids))),
            pointer=means,
        )

    def _count(self, batches: Sequence[Batch]) -> tuple[int, int, int, int]:
        """Target tokens, real tokens, positions and operations of all processes, but for batches that teach nothing."""
        mine = [
            (batch.num_target_tokens, batch.num_real_tokens, batch.num_positions, self._flops(batch))
            for batch in batches
            if batch.num_target_tokens > 0
        ]
        counts = self.processes.sum(torch.tensor([(0, 0, 0, 0), *mine]).sum(dim=0)).tolist()
        target_tokens, real_tokens, positions, flops = counts
        return target_tokens, real_tokens, positions, flops

    def _flops(self, batch: Batch) -> int:
        amounts = Amounts.of(batch.source_lengths_B, batch.target_lengths_B)
        return update_flops(self.model.config, self.model.vocab_size, amounts)

    def rehearse(self, batch: Batch) -> None:
        """All of an update but the update: what exceeds the memory should do so now, not hours later.

        :param batch: the largest there is.
        """
        moments = [torch.empty_like(parameter) for parameter in self.model.parameters() for _ in range(2)]
        self._accumulate_in_pieces(0, [batch], self._count([batch])[0])
        self.optimizer.zero_grad(set_to_none=True)
        del moments  # they stood in for AdamW's, which come with the first update

    def _accumulate_in_pieces(self, step: int, batches: Sequence[Batch], target_tokens: int) -> dict[str, Tensor]:
        """:meth:`_accumulate`, again in more and smaller pieces as long as the memory of any process does not suffice.

        The loss and its gradient are the same in any number of pieces; dropout draws other elements.

        :raises UserError: not even a single example fits; or the first try does not, if the model is sharded: the
            others wait within their forward or backward pass then, and cannot be asked to begin again.
        """
        self.model.train()
        while True:
            seed_step(self.seed, step, self.processes.rank)
            reason, sums = "", {}
            pieces = [piece for batch in batches for piece in batch.split(self.pieces)]
            try:
                with self._exchanging():
                    sums = self._accumulate(pieces, target_tokens, self.coverage_weight(step))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).split("\n")[0]
                if self.is_sharded:
                    raise self._too_large(pieces, reason) from error
            if not self.processes.largest(bool(reason)):
                return sums
            self._make_smaller(pieces, reason)

    def _make_smaller(self, pieces: Sequence[Batch], reason: str) -> None:
        """Halve the pieces, too large for the memory here or, without a ``reason``, of another process.

        Outside the handler, for the exception there keeps alive what did not fit.
        """
        if reason and all(len(piece.ids) == 1 for piece in pieces):
            raise self._too_large(pieces, reason)
        shape = _largest_shape(pieces)
        self.pieces *= 2
        logger.warning(
            "%s do not fit the memory of %s (%s): batches are computed in %d pieces from now on; "
            "data.batching.max_tokens divided, and training.accumulate multiplied, by that does the same faster",
            shape, self.runtime.device, reason or "of another process", self.pieces,
        )  # fmt: skip
        self.optimizer.zero_grad(set_to_none=True)
        if self.runtime.device.type == "cuda":
            torch.cuda.empty_cache()

    def _too_large(self, pieces: Sequence[Batch], reason: str) -> UserError:
        if all(len(piece.ids) == 1 for piece in pieces):
            way_out = "lower data.max_source_tokens, or take a smaller model"
        else:
            way_out = "divide data.batching.max_tokens by 2, and multiply training.accumulate by it"
        if not self.model.recompute:
            way_out += "; or set runtime.recompute_activations=true"
        return UserError(
            f"{_largest_shape(pieces)} do not fit the memory of {self.runtime.device} ({reason}): {way_out}"
        )

    def _exchanging(self) -> AbstractContextManager[None]:
        return noticing_loss() if self.is_sharded else nullcontext()

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
        gradients = [each.grad for each in self.model.parameters() if each.grad is not None]
        norm = whole(nn.utils.get_total_norm(gradients))
        nn.utils.clip_grads_with_norm_(self.model.parameters(), self.clip_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        gradient_norm = float(norm)
        if math.isfinite(gradient_norm) and bool(torch.isfinite(loss)):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return gradient_norm


def _largest_shape(pieces: Sequence[Batch]) -> str:
    largest = max(pieces, key=lambda piece: piece.num_positions)
    return f"{len(largest.ids)} examples of {largest.source_BS.shape[1]} + {largest.target_BT.shape[1]} positions"
