"""A model's size and a workload in; updates of it, by us and by our peers, as a contest out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from summarizer.benchmark.contest import OURS, Contender, Contest, Work
from summarizer.benchmark.peers import PEERS, Peer, is_installed, training_loop
from summarizer.benchmark.workload import TrainingWorkload, news_batches, planned_batches
from summarizer.data.batch import Batch
from summarizer.model.config import TransformerConfig
from summarizer.model.flops import Amounts, update_flops
from summarizer.model.transformer import Transformer
from summarizer.runtime import RuntimeConfig, seed_step, set_up, set_up_plainly
from summarizer.training.optimizer import OptimizerConfig, build_optimizer
from summarizer.training.step import Updater


def training_contest(
    config: TransformerConfig,
    vocab_size: int,
    workload: TrainingWorkload,
    *,
    seed: int,
    runtime: RuntimeConfig,
    peers: bool,
) -> Contest:
    """Forward, loss, backward, clipping and AdamW for each batch of random examples, the same for all. Ours trains on
    batches that it planned itself as well: of like lengths, from the same distribution.
    """
    batches = news_batches(workload, vocab_size, seed=seed)
    planned = planned_batches(workload, vocab_size, seed=seed)
    ours = partial(_our_updates, config, vocab_size, seed, runtime)
    contenders = [
        Contender(OURS, partial(ours, planned), amount=_real_tokens(planned)),
        Contender(f"{OURS}, random batches", partial(ours, batches)),
    ]
    if peers:
        contenders += [
            Contender(peer.name, partial(_their_updates, peer, config, vocab_size, seed, runtime, batches), peer.note)
            for peer in PEERS
            if peer.package is None or is_installed(peer.package)
        ]
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


def _our_updates(
    config: TransformerConfig, vocab_size: int, seed: int, runtime: RuntimeConfig, batches: Sequence[Batch]
) -> Work:
    chosen = set_up(runtime)
    seed_step(seed, 0)
    model = Transformer(config, vocab_size).to(chosen.device)
    updater = Updater(
        model,
        build_optimizer(model, OptimizerConfig()),
        runtime=chosen,
        learning_rate=lambda step: 1e-4,
        label_smoothing=0.0,
        clip_norm=1.0,
        seed=seed,
    )
    steps = count(1)
    return _over(batches, lambda batch: updater(next(steps), [batch]))


def _their_updates(
    peer: Peer,
    config: TransformerConfig,
    vocab_size: int,
    seed: int,
    runtime: RuntimeConfig,
    batches: Sequence[Batch],
) -> Work:
    chosen = set_up_plainly(runtime)
    seed_step(seed, 0)
    model, loss = peer.build(config, vocab_size)
    return _over(batches, training_loop(model, loss, chosen.autocast, chosen.device))


def _over(batches: Sequence[Batch], update: Callable[[Batch], object]) -> Work:
    def run() -> None:
        for batch in batches:
            update(batch)

    return run
