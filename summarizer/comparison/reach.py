"""A mechanism in; how well it recalls, by distance, by length and by how much there is to recall, out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from summarizer.comparison.classifier import RecallClassifier
from summarizer.comparison.mechanisms import Mechanism
from summarizer.comparison.recall import NUM_KEYS, Questions, draw_questions, shortest_length
from summarizer.errors import UserError
from summarizer.model.mode import evaluating
from summarizer.runtime import Runtime, seed_step

_TOKENS_AT_ONCE = 8192  # of a test batch


@dataclass(kw_only=True)
class RecallConfig:
    """How each mechanism learns the recall task, and on what it is tested."""

    steps: int = 2000
    """Updates."""

    batch_size: int = 32
    """Sequences an update."""

    lr: float = 3e-3
    """Peak learning rate: reached linearly in a tenth of the steps, then down to zero linearly."""

    train_length: int = 32
    """Longest sequence of the training; each batch has a random length from three quarters of this on."""

    test_lengths: list[int] = field(default_factory=lambda: [32, 64, 128, 256, 512])
    """Lengths of the test sequences."""

    max_pairs: int = 8
    """Most pairs in a sequence; each batch has a random number of them from one on."""

    test_pairs: int = 4
    """Pairs in a test sequence, where accuracy is by length or distance."""

    test_sequences: int = 256
    """Sequences of each test."""

    def validate(self) -> None:
        """Raise UserError for the first value that cannot work."""
        for name in ("steps", "batch_size", "max_pairs", "test_pairs", "test_sequences"):
            if getattr(self, name) < 1:
                raise UserError(f"recall.{name} ({getattr(self, name)}) must be at least 1")
        for name in ("max_pairs", "test_pairs"):
            if getattr(self, name) > NUM_KEYS:
                raise UserError(f"recall.{name} ({getattr(self, name)}) must be at most {NUM_KEYS}, the number of keys")
        if not 0 < self.lr < float("inf"):
            raise UserError(f"recall.lr ({self.lr}) must be a positive number: try recall.lr=3e-3")
        if self.shortest_train_length < shortest_length(self.max_pairs):
            raise UserError(
                f"recall.train_length ({self.train_length}) must be at least {4 * self.max_pairs}, "
                f"for recall.max_pairs ({self.max_pairs}) pairs and their questions to fit"
            )
        if not self.test_lengths:
            raise UserError("recall.test_lengths ([]) must name a length: try recall.test_lengths=[32,512]")
        if min(self.test_lengths) < shortest_length(self.test_pairs):
            raise UserError(
                f"recall.test_lengths ({min(self.test_lengths)}) must be at least "
                f"{shortest_length(self.test_pairs)}, for {self.test_pairs} pairs and their questions to fit"
            )

    @property
    def shortest_train_length(self) -> int:
        return self.train_length * 3 // 4

    @property
    def loads(self) -> list[int]:
        """Numbers of pairs to test: 1, 2, 4 and so on up to the most of the training."""
        return [2**n for n in range(self.max_pairs.bit_length())]


@dataclass(frozen=True)
class Accuracy:
    """Share of right answers among so many."""

    share: float
    questions: int


@dataclass(frozen=True)
class Reach:
    """What one mechanism recalls."""

    mechanism: str
    by_length: dict[int, Accuracy]
    by_distance: dict[int, dict[int, Accuracy]]
    """Of each length: accuracy at distances from this key up to twice it, itself excluded."""
    by_pairs: dict[int, Accuracy]
    """At the length of the training."""
    loss: float  # of the last tenth of the training, in nats a question
    train_seconds: float


def measure_reach(
    mechanism: Mechanism,
    config: RecallConfig,
    *,
    width: int,
    num_heads: int,
    seed: int,
    runtime: Runtime,
    on_step: Callable[[], object],
) -> Reach:
    """Train the mechanism on short sequences and test it on these and on longer ones.

    :param seed: decides weights and data; the data are the same for all mechanisms.
    :param on_step: called after every update.
    """
    seed_step(seed, 0)
    model = RecallClassifier(mechanism, width=width, num_heads=num_heads).to(runtime.device)
    started = time.perf_counter()
    loss = _train(model, config, seed, runtime, on_step)
    train_seconds = time.perf_counter() - started
    tests = {length: _test(model, config, length, config.test_pairs, seed, runtime) for length in config.test_lengths}
    loads = {pairs: _test(model, config, config.train_length, pairs, seed, runtime) for pairs in config.loads}
    return Reach(
        mechanism=mechanism.name,
        by_length={length: _accuracy(right) for length, (right, _) in tests.items()},
        by_distance={length: _by_distance(*test) for length, test in tests.items()},
        by_pairs={pairs: _accuracy(right) for pairs, (right, _) in loads.items()},
        loss=loss,
        train_seconds=train_seconds,
    )


def learning_rate_factor(step: int, steps: int) -> float:
    """Of update ``step``, counted from 0: up to 1 in a tenth of the steps, then down towards 0."""
    warmup = max(1, steps // 10)
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


def _train(model: nn.Module, config: RecallConfig, seed: int, runtime: Runtime, on_step: Callable[[], object]) -> float:
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    losses: list[Tensor] = []
    for step, questions in enumerate(_training_batches(config, seed)):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * learning_rate_factor(step, config.steps)
        losses.append(_loss(model, questions.to(runtime.device), runtime))
        optimizer.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses[-1] = losses[-1].detach()
        on_step()
    return torch.stack(losses[-max(1, config.steps // 10) :]).mean().item()


def _training_batches(config: RecallConfig, seed: int) -> Iterator[Questions]:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config.steps):
        length = _draw_between(config.shortest_train_length, config.train_length, generator)
        num_pairs = _draw_between(1, config.max_pairs, generator)
        yield draw_questions(config.batch_size, length, num_pairs, generator)


def _draw_between(least: int, most: int, generator: torch.Generator) -> int:
    return int(torch.randint(least, most + 1, (), generator=generator))


def _loss(model: nn.Module, questions: Questions, runtime: Runtime) -> Tensor:
    with runtime.autocast():
        logits_BPV = model(questions.token_BT, questions.answer_BP.shape[1])
    return F.cross_entropy(logits_BPV.float().flatten(0, 1), questions.answer_BP.flatten())


@torch.no_grad()
def _test(
    model: nn.Module, config: RecallConfig, length: int, num_pairs: int, seed: int, runtime: Runtime
) -> tuple[Tensor, Tensor]:
    """Whether each answer is right, and the distance of what it is about; flat, on the CPU."""
    generator = torch.Generator().manual_seed(seed + 1)  # not the training's
    questions = draw_questions(config.test_sequences, length, num_pairs, generator)
    with evaluating(model), runtime.autocast():
        answers = [
            model(token_BT.to(runtime.device), num_pairs).argmax(dim=-1).cpu()
            for token_BT in torch.split(questions.token_BT, max(1, _TOKENS_AT_ONCE // length))
        ]
    right_BP = torch.cat(answers) == questions.answer_BP
    return right_BP.flatten(), questions.distance_BP.flatten()


def _accuracy(right: Tensor) -> Accuracy:
    return Accuracy(share=right.double().mean().item(), questions=right.numel())


def _by_distance(right: Tensor, distance: Tensor) -> dict[int, Accuracy]:
    found: dict[int, Accuracy] = {}
    least = 1
    while least <= distance.max():
        within = (distance >= least) & (distance < 2 * least)
        if within.any():
            found[least] = _accuracy(right[within])
        least *= 2
    return found
