"""A model's size and a workload in; updates of it, by us and by our peers, as a contest out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from torch import nn

from summarizer.benchmark.contest import OURS, Contender, Contest
from summarizer.benchmark.peers import (
    Loss,
    TorchTransformer,
    bart,
    bart_loss,
    is_installed,
    training_loop,
    x_transformer,
    x_transformer_loss,
)
from summarizer.benchmark.workload import TrainingWorkload, news_batches, planned_batches
from summarizer.data.batch import Batch
from summarizer.model.config import TransformerConfig
from summarizer.model.flops import Amounts, update_flops
from summarizer.model.transformer import Transformer
from summarizer.runtime import Runtime, seed_step
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.step import Updater


def training_contest(
    config: TransformerConfig, vocab_size: int, workload: TrainingWorkload, *, seed: int, runtime: Runtime, peers: bool
) -> Contest:
    """Forward, loss, backward, clipping and AdamW for each batch of random examples, the same for all. Ours trains on
    batches that it planned itself as well: of like lengths, from the same distribution.
    """
    batches = news_batches(workload, vocab_size, seed=seed)
    planned = planned_batches(workload, vocab_size, seed=seed)
    update = _our_update(config, vocab_size, runtime, seed)
    contenders = [
        Contender(OURS, _over(planned, update), amount=_real_tokens(planned)),
        Contender(f"{OURS}, random batches", _over(batches, update)),
    ]
    if peers:
        contenders += _peers(config, vocab_size, batches, runtime)
    return Contest(
        title=(
            f"Training, {len(batches)} updates of {workload.batch_size} x (at most {workload.max_source_tokens} to "
            f"{workload.max_target_tokens}) tokens; of the positions, {_padding(batches):.1%} are padding in random "
            f"batches, {_padding(planned):.1%} in planned ones"
        ),
        unit="real tokens",
        amount=_real_tokens(batches),
        contenders=contenders,
        flops=sum(_flops(config, vocab_size, batch) for batch in batches),
        measures_memory=True,
    )


def _real_tokens(batches: Sequence[Batch]) -> int:
    return sum(batch.num_real_tokens for batch in batches)


def _padding(batches: Sequence[Batch]) -> float:
    return 1 - _real_tokens(batches) / sum(batch.num_positions for batch in batches)


def _flops(config: TransformerConfig, vocab_size: int, batch: Batch) -> int:
    """Of real tokens: what an update needs, whatever the implementation."""
    return update_flops(config, vocab_size, Amounts.of(batch.source_lengths_B, batch.target_lengths_B))


def _our_update(config: TransformerConfig, vocab_size: int, runtime: Runtime, seed: int) -> Callable[[Batch], object]:
    seed_step(seed, 0)
    model = Transformer(config, vocab_size).to(runtime.device)
    updater = Updater(
        model,
        build_optimizer(model, OptimizerConfig()),
        runtime=runtime,
        learning_rate=lambda step: 1e-4,
        label_smoothing=0.0,
        clip_norm=1.0,
        seed=seed,
    )
    steps = count(1)
    return lambda batch: updater(next(steps), [batch])


def _peers(
    config: TransformerConfig, vocab_size: int, batches: Sequence[Batch], runtime: Runtime
) -> Iterator[Contender]:
    longest = config.max_positions

    def contender(name: str, model: nn.Module, loss: Loss, note: str = "") -> Contender:
        update = training_loop(model, loss, runtime.autocast, runtime.device)
        return Contender(name, _over(batches, update), note=note)

    if is_installed("transformers"):
        model = bart(config, vocab_size, max_positions=longest)
        yield contender("Hugging Face BART", model, bart_loss(model))
    model = TorchTransformer(config, vocab_size, max_positions=longest)
    yield contender("torch.nn.Transformer", model, model)
    if is_installed("x_transformers"):
        model = x_transformer(config, vocab_size, max_positions=longest)
        yield contender("x-transformers", model, x_transformer_loss(model), "dropout within feed-forward networks")


def _over(batches: Sequence[Batch], update: Callable[[Batch], object]) -> Callable[[], None]:
    def run() -> None:
        for batch in batches:
            update(batch)

    return run
